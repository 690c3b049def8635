-- Take the next number, set marks to it, and append to the log.
-- KEYS: control, stream
-- ARGV: a new incarnation, the log's length, grace (ms), most bans, marks ...
ensure_log(ARGV[1], '')
local sequence = next_number(redis.call('HGET', KEYS[1], 'sequence'))
redis.call('HSET', KEYS[1], 'sequence', sequence)
local now = milliseconds()
-- Older marks have outlived every entry that they could end: the longest lifetime is over, and the
-- grace for computations that are still running.
local oldest = now - longest_lifetime(now) - tonumber(ARGV[3])

local function stamp(at)
  return string.format('%.0f %.0f', at, now)
end

-- A soft mark stands behind the hard one, which may be 0: "sequence ms[ soft-sequence soft-ms]".
local function set_soft(mark, at)
  local old = redis.call('HGET', KEYS[1], mark)
  redis.call('HSET', KEYS[1], mark, (old and string.match(old, '^%d+ %d+') or '0 0') .. ' ' .. stamp(at))
end

-- Bans are matched by the readers: all of them in one field, oldest first; soft ones in another.
local function add_bans(field, patterns, is_soft)
  local bans = {}
  for _, ban in ipairs(cjson.decode(redis.call('HGET', KEYS[1], field) or '[]')) do
    if ban[3] >= oldest and not patterns[ban[1]] then
      bans[#bans + 1] = ban
    end
  end
  for pattern in pairs(patterns) do
    bans[#bans + 1] = {pattern, tonumber(sequence), now}
  end
  -- Too many to match: the oldest become one that ends everything older. It stays a ban, too: who
  -- has read the marks before this and reads the bans after it must not miss what it stands for.
  local most = tonumber(ARGV[4])
  if #bans > most then
    local last = bans[#bans - most + 1]
    local folded = last[2]
    local kept = {{'*', folded, last[3]}}
    for i = #bans - most + 2, #bans do
      kept[#kept + 1] = bans[i]
    end
    local everything = redis.call('HGET', KEYS[1], 'm:*') or '0'
    if is_soft then
      local before = string.match(everything, '^%d+ %d+ (%d+)') or '0'
      if folded > tonumber(before) then
        set_soft('m:*', folded)
      end
    elseif folded > tonumber(string.match(everything, '^%d+')) then
      redis.call('HSET', KEYS[1], 'm:*', stamp(folded))
    end
    bans = kept
  end
  redis.call('HSET', KEYS[1], field, cjson.encode(bans), 'banned', sequence)
end

local fields, patterns, soft_patterns = {}, {}, {}
for i = 5, #ARGV do
  local mark = ARGV[i]
  local is_soft = string.sub(mark, 1, 1) == '~'
  local name = is_soft and string.sub(mark, 2) or mark
  if string.sub(name, 1, 2) == 'b:' then
    local kind = is_soft and soft_patterns or patterns
    kind[string.sub(name, 3)] = true
  elseif is_soft then
    set_soft('m:' .. name, sequence)
  elseif string.sub(mark, 1, 2) ~= 'r:' then
    -- A replacement ends nothing here: memories elsewhere read of it in the stream.
    redis.call('HSET', KEYS[1], 'm:' .. mark, stamp(sequence))
  end
  fields[#fields + 1] = mark
  fields[#fields + 1] = ''
end
if next(patterns) then
  add_bans('bans', patterns, false)
end
if next(soft_patterns) then
  add_bans('soft-bans', soft_patterns, true)
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], sequence .. '-1', unpack(fields))

-- Forget useless marks, a few random ones each time, so that the hash stays in proportion to what is
-- needed without a sweep of its own.
local sample = redis.call('HRANDFIELD', KEYS[1], 8, 'WITHVALUES')
for i = 1, #sample, 2 do
  if string.sub(sample[i], 1, 2) == 'm:' then
    local set_at = tonumber(string.match(sample[i + 1], ' (%d+)$'))
    -- Versions before 0.2 kept replacements as well.
    if set_at and (set_at < oldest or string.sub(sample[i], 3, 4) == 'r:') then
      redis.call('HDEL', KEYS[1], sample[i])
    end
  end
end
return {redis.call('HGET', KEYS[1], 'incarnation'), sequence}
