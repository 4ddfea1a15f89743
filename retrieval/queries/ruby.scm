; Ruby: definitions, requires, references.

(class name: [(constant) @name (scope_resolution name: (constant) @name)] body: (_)? @body) @definition.class
(module name: [(constant) @name (scope_resolution name: (constant) @name)] body: (_)? @body) @definition.module
(method name: (_) @name body: (_)? @body) @definition.function
(singleton_method name: (_) @name body: (_)? @body) @definition.function
(assignment left: (constant) @name) @definition.constant
((call method: (identifier) @_maker arguments: (argument_list (simple_symbol) @name)) @definition.field
  (#match? @_maker "^(attr_accessor|attr_reader|attr_writer|has_many|has_one|belongs_to|scope|field|property)$"))

((call method: (identifier) @_require arguments: (argument_list . (string (string_content) @module))) @import @star
  (#match? @_require "^(require|require_relative|load)$"))

(call method: (identifier) @reference)
(scope_resolution name: (constant) @reference)
(superclass (constant) @reference)
(call receiver: (constant) @reference)
