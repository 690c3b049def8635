-- End a lease, if it is the owner's; or mark it as unshared, so that equal calls run each for itself.
-- KEYS: lease   ARGV: owner, milliseconds that it is unshared (0: not at all)
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  return redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], 'owner', '', 'stage', 'unshared')
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
