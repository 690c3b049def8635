-- How long marks are needed: for as long as an entry may live that was stored so far. The field
-- ``lifetimes`` has, of lifetimes rounded up to powers of two, when the last such entry expires; a
-- lifetime is forgotten with it.
local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function read_lifetimes()
  return cjson.decode(redis.call('HGET', KEYS[1], 'lifetimes') or '{}')
end

-- The longest lifetime of entries that may still be there.
local function longest_lifetime(now)
  local longest = 0
  for lifetime, ends in pairs(read_lifetimes()) do
    if ends >= now then
      longest = math.max(longest, tonumber(lifetime))
    end
  end
  return longest
end

local function note_lifetime(lifetime)
  local now, rounded = milliseconds(), 1
  while rounded < lifetime do
    rounded = rounded * 2
  end
  local name, kept, known = string.format('%.0f', rounded), {}, read_lifetimes()
  -- Written again when a quarter of it is over, so that a fill is cheap.
  if (known[name] or 0) >= now + rounded then
    return
  end
  for other, ends in pairs(known) do
    if ends >= now then
      kept[other] = ends
    end
  end
  kept[name] = now + rounded + math.floor(rounded / 4)
  redis.call('HSET', KEYS[1], 'lifetimes', cjson.encode(kept))
end
