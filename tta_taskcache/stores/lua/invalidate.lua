-- Take the next sequence number, set marks to it, and append to the log.
-- KEYS: control, stream   ARGV: a new incarnation, the log's length, grace (ms), marks ...
if redis.call('HSETNX', KEYS[1], 'incarnation', ARGV[1]) == 1 then
  redis.call('DEL', KEYS[2])
end
local sequence = redis.call('HINCRBY', KEYS[1], 'sequence', 1)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%d %.0f', sequence, now)
local fields = {}
for i = 4, #ARGV do
  redis.call('HSET', KEYS[1], 'm:' .. ARGV[i], stamp)
  fields[#fields + 1] = ARGV[i]
  fields[#fields + 1] = ''
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], sequence .. '-1', unpack(fields))
-- Forget marks that have outlived every entry they could end: those older than the longest lifetime,
-- and the grace for computations that are still running. A few random ones each time, so the hash
-- stays in proportion to what is needed without a sweep of its own.
local longest = tonumber(redis.call('HGET', KEYS[1], 'longest') or '0')
local oldest = now - longest - tonumber(ARGV[3])
local sample = redis.call('HRANDFIELD', KEYS[1], 8, 'WITHVALUES')
for i = 1, #sample, 2 do
  if string.sub(sample[i], 1, 2) == 'm:' then
    local set_at = tonumber(string.match(sample[i + 1], ' (%d+)$'))
    if set_at and set_at < oldest then
      redis.call('HDEL', KEYS[1], sample[i])
    end
  end
end
return {redis.call('HGET', KEYS[1], 'incarnation'), sequence}
