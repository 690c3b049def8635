-- Make sure that the log exists, is this server's, and remembers how long entries live.
-- KEYS: control, stream
-- ARGV: a new incarnation, an incarnation that must not go on (or nothing), the lifetime of an entry
--       that is about to be stored (ms; 0 for none)
ensure_log(ARGV[1], ARGV[2])
if ARGV[3] ~= '0' then
  note_lifetime(tonumber(ARGV[3]))
end
return 1
