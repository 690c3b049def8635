-- End a lease, if it is the owner's; or leave word that equal calls are not to wait for one another.
-- KEYS: lease   ARGV: owner, how long that word is to stand (ms; 0 for no word)
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  return redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], 'owner', '', 'stage', 'unshared')
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
