; Python: definitions, imports, references.

(function_definition
  name: (identifier) @name
  body: (block . (expression_statement (string (string_content) @doc))?) @body) @definition.function

(class_definition
  name: (identifier) @name
  body: (block . (expression_statement (string (string_content) @doc))?) @body) @definition.class

(module (expression_statement (assignment left: (identifier) @name) @definition.constant))
(module (if_statement (block (expression_statement (assignment left: (identifier) @name) @definition.constant))))
(module (type_alias_statement left: (type [(identifier) @name (generic_type (identifier) @name)])) @definition.constant)

(class_definition body: (block (expression_statement (assignment left: (identifier) @name) @definition.field)))

; self.name = value
((assignment
  left: (attribute object: (identifier) @_self attribute: (identifier) @name)) @definition.field
  (#eq? @_self "self"))

(import_statement name: (dotted_name) @module) @import
(import_statement name: (aliased_import name: (dotted_name) @module alias: (identifier) @alias)) @import
(import_from_statement module_name: (_) @module name: (dotted_name) @imported) @import
(import_from_statement
  module_name: (_) @module
  name: (aliased_import name: (dotted_name) @imported alias: (identifier) @alias)) @import
(import_from_statement module_name: (_) @module (wildcard_import) @star) @import

(call function: [(identifier) @reference (attribute attribute: (identifier) @reference)])
(type (identifier) @reference)
(class_definition superclasses: (argument_list (identifier) @reference))
