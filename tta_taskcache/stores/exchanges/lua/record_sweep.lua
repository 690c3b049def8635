-- Record the progress of a sweep.
-- KEYS: sweep   ARGV: milliseconds that it is kept, request, cursor, visited, total, dropped, freed
-- Returns the request that the next batch answers, or -1 when the sweep is over.
local names = {'request', 'cursor', 'visited', 'total', 'dropped', 'freed'}
for i, name in ipairs(names) do
  redis.call('HSET', KEYS[1], name, ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
local asked = tonumber(redis.call('HGET', KEYS[1], 'asked') or '0')
if ARGV[3] ~= '' then
  return tonumber(ARGV[2])
end
if asked > tonumber(ARGV[2]) then
  return asked
end
redis.call('HDEL', KEYS[1], 'active')
return -1
