-- Add to the counters of all time and of a day, both or neither.
-- KEYS: the counters; those of the day. ARGV: seconds to keep the day for; then names and amounts.
for i = 2, #ARGV, 2 do
  redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('HINCRBYFLOAT', KEYS[2], ARGV[i], ARGV[i + 1])
end
redis.call('EXPIRE', KEYS[2], ARGV[1])
