-- Give the lease of a key to the first claim, unless there is a valid entry or another call leads.
-- KEYS: entry, lease[, control]
-- ARGV: owner, stage, ttl (ms), reservation, overtakes (ms), newest ban, flags (r: regardless,
--       q: takes what is queued, m: the entry's own marks end it, too), then
--       the names of the marks; or, where control is on another node of a cluster: incarnation,
--       sequence, newest mark
-- Returns {'ours', incarnation, sequence}, {'held', stage, remaining (ms)} or {'needless'}.
local incarnation, sequence, newest
if KEYS[3] then
  local fields = {'incarnation', 'sequence'}
  for i = 8, #ARGV do
    fields[#fields + 1] = 'm:' .. ARGV[i]
  end
  local values = redis.call('HMGET', KEYS[3], unpack(fields))
  incarnation, sequence, newest = values[1], tonumber(values[2]) or 0, 0
  for i = 3, #values do
    if values[i] then
      newest = math.max(newest, tonumber(string.match(values[i], '^%d+')) or 0)
    end
  end
else
  incarnation, sequence, newest = ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
end
if not incarnation then
  return {'needless'}
end
newest = math.max(newest, tonumber(ARGV[6]))

-- A birth beyond the sequence is in the part of the log that a failover has lost; or it is new, where
-- the sequence was read before.
local function is_current(born_in, born_at, own)
  local born = tonumber(born_at) or -1
  return born_in == incarnation and born >= math.max(newest, own or 0) and (born <= sequence or not KEYS[3])
end

local left = redis.call('PTTL', KEYS[1])
if not string.find(ARGV[7], 'r') and left > 0 then
  -- Behind the header (entry.py) its head begins: ["incarnation",sequence,served above (ms),
  local head = redis.call('GETRANGE', KEYS[1], 24, 119)
  local born_in, born_at, above = string.match(head, '^%["([^"]*)",(%d+),(%d+)')
  local own = 0
  if string.find(ARGV[7], 'm') and KEYS[3] then
    local found = read_marks(KEYS[3], names_of(KEYS[1]))
    for i = 2, #found, 2 do
      own = math.max(own, tonumber(string.match(found[i], '^%d+')) or 0)
    end
  end
  if is_current(born_in, born_at, own) and left > (tonumber(above) or 0) then
    return {'needless'}
  end
end

local held = redis.call('HMGET', KEYS[2], 'owner', 'stage', 'incarnation', 'sequence')
local remaining = held[1] and redis.call('PTTL', KEYS[2]) or 0
if remaining > 0 and held[1] ~= ARGV[1] and is_current(held[3], held[4]) then
  local mine = held[1] == ARGV[4] or remaining <= tonumber(ARGV[5])
  local yields = (held[2] == 'reserved' and mine) or (held[2] == 'queued' and string.find(ARGV[7], 'q'))
  if not yields then
    return {'held', held[2], remaining}
  end
end
redis.call('HSET', KEYS[2], 'owner', ARGV[1], 'stage', ARGV[2], 'incarnation', incarnation, 'sequence', sequence)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {'ours', incarnation, sequence}
