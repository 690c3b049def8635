-- Add to the counters of all time and of a day. What can't be added is left out: statistics decide
-- nothing, and are no reason for the commands that they ride with to fail (promise F6).
-- KEYS: the counters; those of the day. ARGV: seconds to keep the day for; then names and amounts.
-- Returns how many were left out.
local dropped = 0
for i = 2, #ARGV, 2 do
  for k = 1, 2 do
    local reply = redis.pcall('HINCRBYFLOAT', KEYS[k], ARGV[i], ARGV[i + 1])
    if type(reply) == 'table' and reply.err then
      dropped = dropped + 1
    end
  end
end
redis.pcall('EXPIRE', KEYS[2], ARGV[1])
return dropped
