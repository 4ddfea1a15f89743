--- Cursor moves in, ghost text out: asks the server, draws its answer as an extmark, puts an accepted one in.
---
--- Used where Neovim has no vim.lsp.inline_completion, or by choice. It waits for nothing: the server decides when
--- a request is worth the model. Text typed along a visible suggestion shortens it at once, before the server answers.
local client = require('lacuna.client')
local keys = require('lacuna.keys')
local suggestion = require('lacuna.suggestion')

local api = vim.api
local M = {}

local INVOKED, AUTOMATIC = 1, 2 -- InlineCompletionTriggerKind
local can_inline = vim.fn.has('nvim-0.10') == 1

M.namespace = api.nvim_create_namespace('lacuna')
M.name = "Lacuna's own"

local options, wanted -- resolved options; wanted(bufnr): whether suggestions belong there now
local shown = nil -- { bufnr, suggestion, items, index, encoding } while a ghost is visible
local asked = nil -- { client, id, stamp } of the request in flight
local last = '' -- the state of buffer and cursor that was last asked about

local function cursor()
  local position = api.nvim_win_get_cursor(0)
  return { position[1] - 1, position[2] }
end

local function stamp(bufnr)
  local at = cursor()
  return table.concat({ bufnr, api.nvim_buf_get_changedtick(bufnr), at[1], at[2] }, ' ')
end

local function inserting()
  return vim.startswith(api.nvim_get_mode().mode, 'i')
end

local function cancel()
  if asked then
    local was = asked
    asked = nil
    client.cancel(was.client, was.id)
  end
end

--- Takes the ghost away and gives its keys back.
function M.hide()
  if shown then
    if api.nvim_buf_is_valid(shown.bufnr) then
      api.nvim_buf_clear_namespace(shown.bufnr, M.namespace, 0, -1)
    end
    shown = nil
  end
  keys.release()
end

--- Whether a ghost is on the screen.
function M.visible()
  return shown ~= nil
end

local function draw(new)
  local one = new.suggestion
  local line = api.nvim_get_current_line()
  local view = { line = line, tabstop = vim.bo.tabstop, inline = can_inline }
  local drawing = suggestion.drawing(one, view)
  api.nvim_buf_clear_namespace(new.bufnr, M.namespace, 0, -1)
  api.nvim_buf_set_extmark(new.bufnr, M.namespace, one.row, one.col, {
    id = 1,
    virt_text = drawing.first,
    virt_text_pos = drawing.inline and 'inline' or 'overlay',
    virt_lines = #drawing.below > 0 and drawing.below or nil,
    hl_mode = drawing.inline and one.replaced .. one.tail ~= '' and 'replace' or 'combine', -- not a bracket's colour
    undo_restore = can_inline and false or nil,
  })
  shown = new
  keys.hold(new.bufnr, M.actions)
end

--- Shows the first item from `index` on that fits at the cursor; hides the ghost when none does.
local function show(bufnr, items, index, encoding)
  for step = 0, #items - 1 do
    local i = (index - 1 + step) % #items + 1
    local one = suggestion.of(items[i], cursor(), api.nvim_get_current_line(), encoding)
    if one then
      return draw({ bufnr = bufnr, suggestion = one, items = items, index = i, encoding = encoding })
    end
  end
  M.hide()
end

local function answer(bufnr, asked_at, encoding, err, result)
  if not asked or asked.stamp ~= asked_at then
    return
  end
  asked = nil
  local stale = api.nvim_get_current_buf() ~= bufnr or not inserting() or stamp(bufnr) ~= asked_at
  if stale or vim.fn.pumvisible() == 1 then
    return
  elseif err or not result or result == vim.NIL then
    return M.hide()
  end
  show(bufnr, result.items or result, 1, encoding)
end

--- Asks the server about the cursor. kind: INVOKED by hand, else AUTOMATIC. A request in flight is cancelled.
local function ask(bufnr, kind)
  local server = client.of(bufnr)
  if not server then
    return
  end
  cancel()
  local asked_at, params = stamp(bufnr), client.position(server)
  last = asked_at
  params.context = { triggerKind = kind }
  local id = client.request(server, 'textDocument/inlineCompletion', params, bufnr, function(err, result)
    answer(bufnr, asked_at, server.offset_encoding, err, result)
  end)
  asked = id and { client = server, id = id, stamp = asked_at } or nil
end

--- Shortens or hides the ghost after the text or the cursor changed. Returns whether one is still visible.
local function follow()
  if not shown then
    return false
  end
  local same = api.nvim_get_current_buf() == shown.bufnr
  local rest = same and suggestion.after_typing(shown.suggestion, cursor(), api.nvim_get_current_line())
  if not rest then
    M.hide()
  elseif rest.col ~= shown.suggestion.col then
    draw(vim.tbl_extend('force', shown, { suggestion = rest }))
  end
  return shown ~= nil
end

local function moved(bufnr)
  if bufnr ~= api.nvim_get_current_buf() then
    return
  elseif not wanted(bufnr) or vim.fn.reg_executing() ~= '' then
    return M.hide()
  elseif vim.fn.pumvisible() == 1 then
    return M.dismiss() -- the menu's turn; nobody would see the answer
  elseif stamp(bufnr) ~= last then
    follow()
    ask(bufnr, AUTOMATIC)
  end
end

local function left()
  cancel()
  M.hide()
  last = ''
end

--- Puts `text`, the beginning or the whole of a suggestion, in at the cursor. Returns the row and column after it.
local function insert(bufnr, one, text, replaced)
  local lines = vim.split(text, '\n', { plain = true })
  vim.cmd('let &g:undolevels = &g:undolevels') -- so that one undo takes back the suggestion and not what was typed
  api.nvim_buf_set_text(bufnr, one.row, one.col, one.row, one.col + #replaced, lines)
  local column = #lines == 1 and one.col + #text or #lines[#lines]
  api.nvim_win_set_cursor(0, { one.row + #lines, column })
end

local function report(bufnr, item)
  local server = item.command and client.of(bufnr)
  if server then
    local params = { command = item.command.command, arguments = item.command.arguments }
    client.request(server, 'workspace/executeCommand', params, bufnr, function() end)
  end
end

--- Takes the suggestion, whole or the part that `head(text)` yields. A key typed faster than the screen follows
--- may no longer fit the ghost: then the key does what it would have done without one.
local function accept(key, head)
  if not follow() then
    return key and keys.press(key)
  end
  local bufnr, one = shown.bufnr, shown.suggestion
  local text = head and head(one.text) or one.text
  if text == one.text then
    M.hide()
    cancel()
    insert(bufnr, one, text, one.replaced)
    report(bufnr, one.item)
  else
    insert(bufnr, one, text, '')
    if text:find('\n', 1, true) then
      M.hide()
    else
      follow()
    end
  end
end

--- Takes the ghost away until the next change.
function M.dismiss()
  cancel()
  M.hide()
end

--- Shows the next (1) or previous (-1) of the server's items.
function M.cycle(step)
  if follow() then
    show(shown.bufnr, shown.items, (shown.index - 1 + step) % #shown.items + 1, shown.encoding)
  end
end

--- Asks by hand.
function M.trigger()
  ask(api.nvim_get_current_buf(), INVOKED)
end

--- Takes the whole suggestion. Returns whether there was one.
function M.accept()
  local was = M.visible()
  accept(nil)
  return was
end

--- Begins to follow the cursor. `belongs(bufnr)`: whether suggestions are wanted in a buffer at the moment.
function M.start(resolved, belongs, group)
  options, wanted = resolved, belongs
  local key = options.keys
  M.actions = {
    accept = { key.accept, function() accept(key.accept) end },
    accept_word = { key.accept_word, function() accept(key.accept_word, suggestion.word) end },
    accept_line = { key.accept_line, function() accept(key.accept_line, suggestion.line) end },
    dismiss = { key.dismiss, M.dismiss },
    next = { key.next, function() M.cycle(1) end },
    previous = { key.previous, function() M.cycle(-1) end },
  }
  local function callback(event)
    moved(event.buf)
  end
  local moves = { 'InsertEnter', 'TextChangedI', 'TextChangedP', 'CursorMovedI' }
  api.nvim_create_autocmd(moves, { group = group, callback = callback })
  api.nvim_create_autocmd('LspAttach', {
    group = group,
    callback = function(event)
      if inserting() then
        callback(event)
      end
    end,
  })
  api.nvim_create_autocmd('CompleteChanged', { group = group, callback = M.hide })
  api.nvim_create_autocmd('CompleteDone', {
    group = group,
    callback = vim.schedule_wrap(function(event)
      if inserting() then
        moved(event.buf)
      end
    end),
  })
  api.nvim_create_autocmd({ 'InsertLeave', 'BufLeave' }, { group = group, callback = left })
end

--- Nothing to do for a single buffer: the cursor's events say where it is.
function M.enable(_, _) end

return M
