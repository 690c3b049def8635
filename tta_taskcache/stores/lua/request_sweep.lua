-- Ask for a sweep: whether the caller is to start one.
-- KEYS: sweep   ARGV: how long it is remembered (ms)
redis.call('HINCRBY', KEYS[1], 'asked', 1)
if redis.call('HSETNX', KEYS[1], 'active', 1) == 0 then
  -- Not remembered for longer for that: whoever is at it may have gone.
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
