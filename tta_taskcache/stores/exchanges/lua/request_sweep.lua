-- Request a sweep; returns whether the caller starts it.
-- KEYS: sweep   ARGV: milliseconds that its progress is kept
redis.call('HINCRBY', KEYS[1], 'asked', 1)
if redis.call('HSETNX', KEYS[1], 'active', 1) == 0 then
  -- Its expiry stays: the sweeping process may be gone.
  return 0
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
