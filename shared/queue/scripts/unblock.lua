-- Makes the shards of a blocked job claimable. Returns 1, or 0 if the job is not blocked.
-- KEYS: job, blocked jobs   ARGV: prefix, id
local job, blocked = unpack(KEYS)
local prefix, id = unpack(ARGV)
if redis.call('ZREM', blocked, id) == 0 then return 0 end
local state, shards, lane, priority = unpack(redis.call('HMGET', job, 'state', 'shares', 'lane', 'priority'))
if state ~= 'queued' then return 0 end
for number = 0, shards - 1 do
  local ref = id .. ':' .. number
  local shard_state, since, section = unpack(redis.call('HMGET', prefix .. 'share:' .. ref, 'state', 'since', 'section'), 1, 3)
  if shard_state == 'pending' then enqueue(prefix, priority, section or '', lane, since, ref) end
end
return 1
