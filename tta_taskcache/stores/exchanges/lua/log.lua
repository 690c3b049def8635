-- The beginning of every script that writes to the log.
-- The control hash holds all state of the log, so that it is lost whole or not at all. A log belongs
-- to one server's history of writes: ``master_replid`` changes with each restart and each promotion,
-- after which the log's tail may be missing (promise I6).
local VERSION = '2'

-- Empty where an access list denies INFO.
local function replication_id()
  local told = redis.pcall('INFO', 'replication')
  return type(told) == 'string' and string.match(told, 'master_replid:(%x+)') or ''
end

-- Numbers are a hybrid logical clock: tenths of milliseconds, but always more than the last one. They
-- have 14 digits, as many as Lua and its JSON write exactly.
local function next_number(last)
  local time = redis.call('TIME')
  local now = time[1] * 10000 + math.floor(time[2] / 100)
  return string.format('%.0f', math.max(now, (tonumber(last) or 0) + 1))
end

-- Begin a new incarnation, unless there is one, of this version, that this server may go on with.
local function ensure_log(fresh, broken)
  local known = redis.call('HMGET', KEYS[1], 'incarnation', 'version', 'server', 'sequence')
  local server = replication_id()
  local is_known = known[1] and known[1] ~= broken and known[2] == VERSION
  if is_known and (server == '' or server == known[3]) then
    return
  end
  local number = next_number(known[4])
  redis.call('UNLINK', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'incarnation', fresh, 'version', VERSION, 'server', server, 'sequence', number)
  -- So that each position has a record, which the processes at that position ask for.
  redis.call('XADD', KEYS[2], number .. '-1', 'opened', '')
end
