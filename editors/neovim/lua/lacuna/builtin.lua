--- Neovim 0.12's own vim.lsp.inline_completion under Lacuna's keys. It asks and draws; this adds the keys, the
--- parts (word, line), and knows from its extmarks whether a ghost is visible.
local keys = require('lacuna.keys')
local suggestion = require('lacuna.suggestion')

local api = vim.api
local M = {}

local METHOD = 'textDocument/inlineCompletion'

M.namespace = api.nvim_create_namespace('nvim.lsp.inline_completion')
M.name = "Neovim's own"

local wanted

--- Whether a ghost is on the screen.
function M.visible()
  local marks = api.nvim_buf_get_extmarks(0, M.namespace, 0, -1, { limit = 1 })
  return #marks > 0 and vim.startswith(api.nvim_get_mode().mode, 'i')
end

local function follow()
  if M.visible() then
    keys.hold(api.nvim_get_current_buf(), M.actions)
  else
    keys.release()
  end
end

--- The text an item would still add at the cursor, and the byte column it begins at.
local function remaining(item)
  local row, col = unpack(api.nvim_win_get_cursor(0))
  local text = type(item.insert_text) == 'table' and item.insert_text.value or item.insert_text
  local from = col
  if item.range then
    local start_row, start_col = item.range:to_extmark()
    if start_row ~= row - 1 then
      return ''
    end
    from = start_col
  end
  local typed = api.nvim_get_current_line():sub(from + 1, col)
  return vim.startswith(text, typed) and text:sub(#typed + 1) or ''
end

local function accept(key, head)
  local taken = vim.lsp.inline_completion.get({
    on_accept = function(item)
      local rest = remaining(item)
      local text = head and head(rest) or rest
      if rest == '' then
        return keys.press(key)
      elseif text == rest then
        if type(item.insert_text) == 'string' then
          item.insert_text = item.insert_text:gsub('\r\n?', '\n') -- Neovim splits at \n alone
        end
        return item
      end
      local row, col = unpack(api.nvim_win_get_cursor(0))
      local lines = vim.split(text, '\n', { plain = true })
      api.nvim_buf_set_text(0, row - 1, col, row - 1, col, lines)
      api.nvim_win_set_cursor(0, { row + #lines - 1, #lines == 1 and col + #text or #lines[#lines] })
    end,
  })
  keys.release()
  if not taken and key then
    keys.press(key)
  end
  return taken
end

--- Takes the whole suggestion. Returns whether there was one.
function M.accept()
  return accept(nil)
end

--- Takes the ghost away. Neovim forgets the suggestion itself with the next move.
function M.hide()
  api.nvim_buf_clear_namespace(0, M.namespace, 0, -1)
  keys.release()
end

M.dismiss = M.hide

--- Shows the next (1) or previous (-1) of the server's items.
function M.cycle(step)
  vim.lsp.inline_completion.select({ count = step })
end

--- Asks now: Neovim has no request by hand, but asks when insert mode begins.
function M.trigger()
  api.nvim_exec_autocmds('InsertEnter', { buffer = api.nvim_get_current_buf() })
end

--- Lets Neovim ask for suggestions in a buffer, or not.
function M.enable(bufnr, on)
  vim.lsp.inline_completion.enable(on, { bufnr = bufnr })
end

--- Begins to follow what Neovim draws.
function M.start(options, belongs, group)
  wanted = belongs
  local key = options.keys
  M.actions = {
    accept = { key.accept, function() accept(key.accept) end },
    accept_word = { key.accept_word, function() accept(key.accept_word, suggestion.word) end },
    accept_line = { key.accept_line, function() accept(key.accept_line, suggestion.line) end },
    dismiss = { key.dismiss, M.dismiss },
    next = { key.next, function() M.cycle(1) end },
    previous = { key.previous, function() M.cycle(-1) end },
  }
  api.nvim_set_hl(0, 'ComplHint', { link = 'LacunaGhost' })
  api.nvim_create_autocmd('LspRequest', {
    group = group,
    callback = function(event)
      local request = event.data.request
      if request.method == METHOD and request.type == 'complete' and wanted(event.buf) then
        vim.defer_fn(follow, 0) -- Neovim draws after this event
      end
    end,
  })
  api.nvim_create_autocmd('LspAttach', {
    group = group,
    callback = function(event)
      vim.defer_fn(function() -- Neovim listens to the buffer after this event
        if event.buf == api.nvim_get_current_buf() and wanted(event.buf) and api.nvim_get_mode().mode:find('^i') then
          M.trigger() -- what was typed before there was a server
        end
      end, 50)
    end,
  })
  api.nvim_create_autocmd({ 'CursorMovedI', 'TextChangedI', 'TextChangedP', 'InsertLeave', 'BufLeave' }, {
    group = group,
    callback = vim.schedule_wrap(follow),
  })
end

return M
