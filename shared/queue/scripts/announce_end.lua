-- Counts the stored bytes of a job that ended without a claim, and emits the event of its end. Its record exists.
-- KEYS: job   ARGV: prefix, id
local prefix, id = unpack(ARGV)
local fields = redis.call('HMGET', KEYS[1], 'tenant', 'state', 'bytes')
redis.call('INCRBY', prefix .. 'stored:' .. fields[1], fields[3])
emit(prefix, id, 'job.' .. fields[2])
