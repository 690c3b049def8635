-- Give a schedule's turn to one of its messages.
-- KEYS: turn
-- ARGV: when it was sent (s), least seconds between turns, owner, lifetime (s), when its turn may
--       have been taken first (s): earlier than it was sent in an hour that comes twice
-- Returns whether it is to (1 or 0: 1 for the same message again, too), and by how many seconds it
-- was sent before the message of the last turn (text; 0 when it wasn't).
local taken = redis.call('HMGET', KEYS[1], 'at', 'owner')
local sent, least, late = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
if taken[1] and taken[2] ~= ARGV[3] then
  local at = tonumber(taken[1])
  if at > tonumber(ARGV[5]) - least and at < sent + least then
    return {0, '0'}
  end
  late = math.max(0, at - sent)
end
redis.call('HSET', KEYS[1], 'at', ARGV[1], 'owner', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {1, tostring(late)}
