-- Writes the record of a queued job and puts its shards into their lane. Returns 1, or 0 without any change if there is
-- a record already: a repeated request must not reset a job.
-- KEYS: job, deadlines, blocked jobs, then all lists that contain the job
-- ARGV: prefix, id, tenant, job as JSON, created at in ms, deadline in ms, lane, priority, fence, slots per item, ids of the
-- jobs that it waits for separated by commas, format of the record, number of targets that limits count, share of the tenant,
-- section of its shards, then for each shard its number of items and its state, 'pending' or 'ended'
local FIXED_KEYS, FIXED_ARGUMENTS = 3, 15
local job, deadlines, blocked = unpack(KEYS)
local prefix, id, tenant, document, created, deadline, lane, priority, fence, weight, after, format, counted, tenant_share,
  section = unpack(ARGV)
if redis.call('EXISTS', job) == 1 then return 0 end
local pending = prefix .. 'pending:' .. name_queue(priority, section) .. ':' .. lane
local shards = (#ARGV - FIXED_ARGUMENTS) / 2
local left, size, pending_items, all_items = 0, 0, 0, 0
for number = 0, shards - 1 do
  local items = tonumber(ARGV[FIXED_ARGUMENTS + 2 * number + 1])
  local state = ARGV[FIXED_ARGUMENTS + 2 * number + 2]
  local ref = id .. ':' .. number
  size, all_items = size + items * weight, all_items + items
  redis.call('HSET', prefix .. 'share:' .. ref, 'state', state, 'size', items * weight, 'attempt', 0,
    'lane', lane, 'since', created, 'resumes', fence == '0' and 0 or 1)
  if section ~= '' then redis.call('HSET', prefix .. 'share:' .. ref, 'section', section) end
  if state == 'pending' then
    left, pending_items = left + 1, pending_items + items
    if after == '' then redis.call('ZADD', pending, created, ref) end
  end
end
local targets = math.ceil(counted * pending_items / math.max(1, all_items)) -- a shard that has ended counts no longer
if left == 0 then -- all shards have ended: only the assembly is left
  redis.call('HSET', prefix .. 'share:' .. id .. ':' .. shards, 'state', 'pending', 'size', 1, 'attempt', 0,
    'lane', lane, 'since', created, 'section', section)
  redis.call('ZADD', pending, created, id .. ':' .. shards)
end
redis.call('HSET', job, 'format', format, 'job', document, 'tenant', tenant, 'targets', targets, 'fence', fence, 'attempt', 0,
  'shares', shards, 'left', left, 'running', 0, 'size', size, 'lane', lane, 'priority', priority,
  'tenant_share', tenant_share, 'counted_shards', left)
redis.call('ZADD', deadlines, deadline, id)
if after == '' then
  open_lane(prefix, priority, section, lane)
else -- cannot be claimed before `unblock`
  redis.call('HSET', job, 'after', after)
  redis.call('ZADD', blocked, created, id)
end
for list = FIXED_KEYS + 1, #KEYS do redis.call('ZADD', KEYS[list], 0, id) end
redis.call('INCRBY', prefix .. 'targets:' .. tenant, targets)
local states, shards_of_tenant = prefix .. 'list:' .. tenant .. ':state:', prefix .. 'targets:' .. tenant .. ':shards'
if redis.call('ZCARD', states .. 'queued') + redis.call('ZCARD', states .. 'running') == 0 then
  redis.call('DEL', shards_of_tenant) -- workers of an earlier version do not count the shards of jobs that end
end
redis.call('INCRBY', shards_of_tenant, left)
move(prefix, id, 'queued')
return 1
