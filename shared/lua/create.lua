-- Writes the record of a queued job, unless there is one: a request that is repeated must not set a job back.
-- KEYS: job, pending, every index that it is in   ARGV: id, job as JSON, created at in ms
local job, pending = KEYS[1], KEYS[2]
local id, document, created = unpack(ARGV)
if redis.call('EXISTS', job) == 1 then return 0 end
redis.call('HSET', job, 'job', document, 'state', 'queued', 'fence', 0, 'attempt', 0)
redis.call('ZADD', pending, created, id)
for index = 3, #KEYS do redis.call('ZADD', KEYS[index], 0, id) end
return 1
