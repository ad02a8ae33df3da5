-- The health of an McpHub for Argo CD, which does not read the conditions of custom resources.
-- The guide says how to install it.
local conditions = {}
for _, condition in ipairs((obj.status or {}).conditions or {}) do
  conditions[condition.type] = condition
end

-- A condition about an older spec says nothing about this one.
local function current(name)
  local condition = conditions[name]
  if condition ~= nil and condition.status == "True"
      and condition.observedGeneration == obj.metadata.generation then
    return condition
  end
  return nil
end

local stalled = current("Stalled")
if stalled ~= nil then
  return {status = "Degraded", message = stalled.message}
end
local reconciling = current("Reconciling")
if reconciling ~= nil then
  local paused = obj.status.phase == "Paused"
  return {status = paused and "Suspended" or "Progressing", message = reconciling.message}
end
local ready = current("Ready")
if ready ~= nil then
  return {status = "Healthy", message = ready.message}
end
return {status = "Progressing", message = "the operator has not seen this spec yet"}
