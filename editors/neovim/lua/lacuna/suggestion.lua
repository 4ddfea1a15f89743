--- An item of the server in, what it would add at the cursor out; pure functions on text, no buffer is touched.
---
--- A suggestion is { row, col, text, replaced, tail, item }: at row (from 0) and byte column col, `text` goes in
--- and takes the place of `replaced`, the line's text right of col that the item covers; `tail` is the line after that.
local client = require('lacuna.client')

local M = {}

--- The suggestion an item makes at a cursor, or nil when it does not fit what stands there.
--- cursor: { row, byte column }; line: text of that row; encoding: how the server counts.
function M.of(item, cursor, line, encoding)
  local row, col = cursor[1], cursor[2]
  local text = type(item.insertText) == 'table' and item.insertText.value or item.insertText
  text = text:gsub('\r\n?', '\n')
  local from, to = col, col
  if item.range then
    local first, last = item.range.start, item.range['end']
    if first.line ~= row or last.line ~= row then
      return nil
    end
    from, to = client.byte(line, first.character, encoding), client.byte(line, last.character, encoding)
  end
  if from > col or to < col then
    return nil
  end
  local typed = line:sub(from + 1, col)
  if text:sub(1, #typed) ~= typed then
    return nil
  end
  local suggestion = {
    row = row,
    col = col,
    text = text:sub(#typed + 1),
    replaced = line:sub(col + 1, to),
    tail = line:sub(to + 1),
    item = item,
  }
  return suggestion.text ~= suggestion.replaced and suggestion.text ~= '' and suggestion or nil
end

--- What is left of a suggestion after the cursor moved on by typing its own first letters; nil when it did not.
function M.after_typing(suggestion, cursor, line)
  local row, col = cursor[1], cursor[2]
  if row ~= suggestion.row or col < suggestion.col or line:sub(col + 1) ~= suggestion.replaced .. suggestion.tail then
    return nil
  end
  local typed = line:sub(suggestion.col + 1, col)
  if suggestion.text:sub(1, #typed) ~= typed or #typed == #suggestion.text then
    return nil
  end
  local rest = { col = col, text = suggestion.text:sub(#typed + 1) }
  return rest.text ~= suggestion.replaced and vim.tbl_extend('force', suggestion, rest) or nil
end

--- The first word of a text with the space before it: letters and digits, or a run of signs.
function M.word(text)
  return text:match('^%s*[%w_\128-\255]+') or text:match('^%s*[^%w%s_\128-\255]+') or text
end

--- The first line of a text; with the newline and the indentation when the text begins with one.
function M.line(text)
  return text:match('^%s*[^\n]+') or text
end

local function spaces(text, at, tabstop)
  local column = at
  return (text:gsub('([^\t]*)\t', function(before)
    column = column + vim.fn.strdisplaywidth(before, column)
    local width = tabstop - column % tabstop
    column = column + width
    return before .. (' '):rep(width)
  end))
end

--- What to draw: { inline, first = { {text, group}… }, below = { { {text, group}… }… } }.
--- inline: the line's rest keeps its place and moves right. Else `first` is laid over the line's rest, which it repeats.
--- view: { line, tabstop, inline } with inline = whether this Neovim can draw inline.
function M.drawing(suggestion, view)
  local lines = vim.split(suggestion.text, '\n', { plain = true })
  local rest = suggestion.replaced .. suggestion.tail
  local column = vim.fn.strdisplaywidth(view.line:sub(1, suggestion.col))
  local ends_alike = suggestion.replaced == '' or vim.endswith(suggestion.text, suggestion.replaced)
  local below = {}
  for i = 2, #lines do
    table.insert(below, { { spaces(lines[i], 0, view.tabstop), 'LacunaGhost' } })
  end
  if view.inline and #lines == 1 and ends_alike then
    local shown = lines[1]:sub(1, #lines[1] - #suggestion.replaced)
    return { inline = true, first = { { spaces(shown, column, view.tabstop), 'LacunaGhost' } }, below = below }
  end
  local first = { { spaces(lines[1], column, view.tabstop), 'LacunaGhost' } }
  local last = #lines == 1 and first or below[#below]
  if suggestion.tail ~= '' then
    local at = vim.fn.strdisplaywidth(last[1][1], #lines == 1 and column or 0)
    table.insert(last, { spaces(suggestion.tail, at, view.tabstop), 'Normal' })
  end
  local width = 0
  for _, chunk in ipairs(first) do
    width = width + vim.fn.strdisplaywidth(chunk[1])
  end
  local covered = vim.fn.strdisplaywidth(rest, column)
  if covered > width then
    table.insert(first, { (' '):rep(covered - width), 'Normal' })
  end
  return { inline = false, first = first, below = below }
end

return M
