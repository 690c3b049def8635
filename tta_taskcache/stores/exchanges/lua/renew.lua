-- Let a lease last for longer, if it is still the owner's.
-- KEYS: lease   ARGV: owner, stage, ttl (ms)
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'stage', ARGV[2])
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
