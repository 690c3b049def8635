-- Drop an entry, if it is still the one that was judged: a fresh one may have replaced it.
-- KEYS: entry   ARGV: its header
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then
  return 0
end
return redis.call('UNLINK', KEYS[1])
