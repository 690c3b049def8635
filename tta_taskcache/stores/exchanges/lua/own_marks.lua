-- The marks that an entry names itself: its run's tags, and those of what it was made from.
-- Behind its header (entry.py), whose last four bytes are the length of the head, begins the head:
-- JSON, whose twelfth value are the names.
local HEADER, NAMES, MAX_HEAD = 24, 12, 1048576

-- Names and header; where the names can't be read, the header is empty.

local function names_of(entry)
  local header = redis.call('GETRANGE', entry, 0, HEADER - 1)
  local a, b, c, d = string.byte(header, HEADER - 3, HEADER)
  local size = d and ((a * 256 + b) * 256 + c) * 256 + d
  if not size or size > MAX_HEAD then
    return {}, ''
  end
  local ok, head = pcall(cjson.decode, redis.call('GETRANGE', entry, HEADER, HEADER + size - 1))
  if not ok or type(head) ~= 'table' or type(head[NAMES]) ~= 'table' then
    return {}, ''
  end
  for _, name in ipairs(head[NAMES]) do
    if type(name) ~= 'string' then
      return {}, ''
    end
  end
  return head[NAMES], header
end

-- What is set of some marks: names and values, one after the other.
local function read_marks(control, names)
  local found = {}
  for first = 1, #names, 500 do
    local fields = {}
    for i = first, math.min(first + 499, #names) do
      fields[#fields + 1] = 'm:' .. names[i]
    end
    local values = redis.call('HMGET', control, unpack(fields))
    for i, value in ipairs(values) do
      if value then
        found[#found + 1] = names[first + i - 1]
        found[#found + 1] = value
      end
    end
  end
  return found
end
