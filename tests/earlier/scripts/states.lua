-- Common part of all scripts that change a job's state. States, lists of states and events change only here.

-- Appends an event to the stream of a job's tenant.
local function emit(prefix, id, event)
  local job = redis.call('HMGET', prefix .. 'job:' .. id, 'tenant', 'state', 'done', 'total', 'unit')
  redis.call('XADD', prefix .. 'events:' .. (job[1] or 'default'), 'MAXLEN', '~', 10000, '*', 'event', event, 'job', id,
    'state', job[2], 'done', job[3] or 0, 'total', job[4] or 0, 'unit', job[5] or 'step')
end

-- Moves a job from its present state to another one.
local function move(prefix, id, state)
  local job = prefix .. 'job:' .. id
  local fields = redis.call('HMGET', job, 'state', 'tenant')
  local last_state, tenant = fields[1], fields[2] or 'default'
  if last_state == state then return end
  for _, states in ipairs({prefix .. 'state:', prefix .. 'list:' .. tenant .. ':state:'}) do
    if last_state then redis.call('ZREM', states .. last_state, id) end
    redis.call('ZADD', states .. state, 0, id)
  end
  redis.call('HSET', job, 'state', state)
  emit(prefix, id, 'job.' .. state)
end

