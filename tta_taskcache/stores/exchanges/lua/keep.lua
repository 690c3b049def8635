-- Renew an entry in place: a new head in front of the payload that is stored, if the frame is still
-- the one that was read and the lease the owner's.
-- KEYS: entry, lease, refresh
-- ARGV: owner, lifetime (ms), head, first bytes of the old frame, where its payload begins
if ARGV[1] ~= '' and redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then
  return 0
end
local old = redis.call('GET', KEYS[1])
if not old or string.sub(old, 1, #ARGV[4]) ~= ARGV[4] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3] .. string.sub(old, tonumber(ARGV[5]) + 1), 'PX', ARGV[2])
redis.call('DEL', KEYS[2], KEYS[3])
return 1
