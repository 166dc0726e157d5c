-- Makes the shards of a blocked job claimable. Returns 1, or 0 if the job is not blocked.
-- KEYS: job, blocked jobs   ARGV: prefix, id
local job, blocked = unpack(KEYS)
local prefix, id = unpack(ARGV)
if redis.call('ZREM', blocked, id) == 0 then return 0 end
local state, shards, lane, priority = unpack(redis.call('HMGET', job, 'state', 'shares', 'lane', 'priority'))
if state ~= 'queued' then return 0 end
local pending = prefix .. 'pending:' .. priority .. ':' .. lane
for number = 0, shards - 1 do
  local ref = id .. ':' .. number
  local shard_state, since = unpack(redis.call('HMGET', prefix .. 'share:' .. ref, 'state', 'since'))
  if shard_state == 'pending' then redis.call('ZADD', pending, since, ref) end
end
redis.call('ZADD', prefix .. 'lanes:' .. priority, 'NX', redis.call('INCR', prefix .. 'served'), lane)
return 1
