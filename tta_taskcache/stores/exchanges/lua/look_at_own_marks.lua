-- Read the marks that an entry names itself.
-- KEYS: entry, control
-- Returns the entry's header, and names and values of the marks that are set.
local names, header = names_of(KEYS[1])
local found = read_marks(KEYS[2], names)
return {header, found}
