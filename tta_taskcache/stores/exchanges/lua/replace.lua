-- Store an entry in place of the one that was read, if that is still stored; end the owner's lease.
-- KEYS: entry, lease   ARGV: owner, lifetime (ms), frame, first bytes of the old frame
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[4] - 1) ~= ARGV[4] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
if redis.call('HGET', KEYS[2], 'owner') == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
return 1
