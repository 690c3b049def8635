-- Store an entry and end the lease, if the lease is still the owner's: a leader that was stopped for
-- longer than its lease fills over no other.
-- KEYS: entry, lease, refresh   ARGV: owner, lifetime (ms), frame
if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
redis.call('DEL', KEYS[2], KEYS[3])
return 1
