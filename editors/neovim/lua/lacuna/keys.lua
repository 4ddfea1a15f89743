--- Maps keys while a suggestion is visible and puts back what was there as soon as it is not.
---
--- Outside a visible suggestion no key is touched, so nothing has to guess what a key used to do.
local M = {}

local DESC = 'Lacuna: '
local held = nil -- { bufnr, saved = { [key] = the buffer's own mapping before, or false } }

local function buffer_mapping(key)
  local mapping = vim.fn.maparg(key, 'i', false, true)
  return mapping.buffer == 1 and mapping or false
end

local function is_ours(mapping)
  return mapping and mapping.desc and vim.startswith(mapping.desc, DESC)
end

--- Maps each key of actions = { name = { key, function } } in a buffer. Does nothing when that is already done.
function M.hold(bufnr, actions)
  if held and held.bufnr == bufnr then
    return
  end
  M.release()
  held = { bufnr = bufnr, saved = {} }
  vim.api.nvim_buf_call(bufnr, function()
    for name, action in pairs(actions) do
      local key, run = action[1], action[2]
      if key then
        held.saved[key] = buffer_mapping(key)
        vim.keymap.set('i', key, run, { buffer = bufnr, nowait = true, desc = DESC .. name:gsub('_', ' ') })
      end
    end
  end)
end

--- Puts every key back. A key that someone else mapped meanwhile stays theirs.
function M.release()
  local was = held
  held = nil
  if not was or not vim.api.nvim_buf_is_valid(was.bufnr) then
    return
  end
  vim.api.nvim_buf_call(was.bufnr, function()
    for key, mapping in pairs(was.saved) do
      if is_ours(buffer_mapping(key)) then
        vim.keymap.del('i', key, { buffer = was.bufnr })
        if mapping then
          vim.fn.mapset('i', false, mapping)
        end
      end
    end
  end)
end

--- Whether keys are held at the moment.
function M.are_held()
  return held ~= nil
end

--- Presses a key anew, for whatever is mapped to it now.
function M.press(key)
  vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes(key, true, false, true), 'im', false)
end

return M
