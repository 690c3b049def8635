-- Give a schedule's turn to one of its messages.
-- KEYS: turn
-- ARGV: when it was sent (s), least seconds between turns, owner, lifetime (s)
-- Returns 1 for the first, and for the same message again; 0 for others.
local taken = redis.call('HMGET', KEYS[1], 'at', 'owner')
if taken[1] and taken[2] ~= ARGV[3] and math.abs(tonumber(ARGV[1]) - tonumber(taken[1])) < tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], 'at', ARGV[1], 'owner', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
