-- Writes the record of a queued job, unless there is one: a request that is repeated must not set a job back.
-- KEYS: job, deadlines, lanes of its priority, pending of its lane, held, every list that it is in
-- ARGV: prefix, id, tenant, job as JSON, created at in ms, deadline in ms, lane, priority, fence, weight, the jobs that it
-- comes after with commas between them, format of the record, and by share its number of items, negative where it has ended
local job, deadlines, lanes, pending, held = unpack(KEYS)
local prefix, id, tenant, document, created, deadline, lane, priority, fence, weight, after, format = unpack(ARGV)
if redis.call('EXISTS', job) == 1 then return 0 end
local left, size, targets = 0, 0, 0
for number = 0, #ARGV - 13 do
  local items = tonumber(ARGV[number + 13])
  local state = items < 0 and 'ended' or 'pending'
  local ref = id .. ':' .. number
  size = size + math.abs(items) * weight
  redis.call('HSET', prefix .. 'share:' .. ref, 'state', state, 'size', math.abs(items) * weight, 'attempt', 0,
    'lane', lane, 'since', created, 'resumes', fence == '0' and 0 or 1)
  if state == 'pending' then
    left, targets = left + 1, targets + items
    if after == '' then redis.call('ZADD', pending, created, ref) end
  end
end
local shares = #ARGV - 12
if left == 0 then -- all that is left to do is to put them together
  redis.call('HSET', prefix .. 'share:' .. id .. ':' .. shares, 'state', 'pending', 'size', 1, 'attempt', 0,
    'lane', lane, 'since', created)
  redis.call('ZADD', pending, created, id .. ':' .. shares)
end
redis.call('HSET', job, 'format', format, 'job', document, 'tenant', tenant, 'targets', targets, 'fence', fence, 'attempt', 0, 'shares', shares,
  'left', left, 'running', 0, 'size', size, 'lane', lane, 'priority', priority)
redis.call('ZADD', deadlines, deadline, id)
if after == '' then
  redis.call('ZADD', lanes, 'NX', redis.call('INCR', prefix .. 'served'), lane)
else -- nobody can claim it before `admit` lets it in
  redis.call('HSET', job, 'after', after)
  redis.call('ZADD', held, created, id)
end
for list = 6, #KEYS do redis.call('ZADD', KEYS[list], 0, id) end
redis.call('INCRBY', prefix .. 'targets:' .. tenant, targets)
move(prefix, id, 'queued')
return 1
