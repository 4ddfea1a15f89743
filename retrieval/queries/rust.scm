; Rust: definitions, imports, references.

(function_item name: (identifier) @name body: (block) @body) @definition.function
(function_signature_item name: (identifier) @name) @definition.function
(struct_item name: (type_identifier) @name body: (field_declaration_list) @body) @definition.struct
(struct_item name: (type_identifier) @name) @definition.struct
(enum_item name: (type_identifier) @name body: (_) @body) @definition.enum
(union_item name: (type_identifier) @name body: (_) @body) @definition.union
(trait_item name: (type_identifier) @name body: (_) @body) @definition.trait
(impl_item type: [
  (type_identifier) @name
  (generic_type type: (type_identifier) @name)
  (scoped_type_identifier name: (type_identifier) @name)] body: (_) @body) @definition.impl
(mod_item name: (identifier) @name body: (_) @body) @definition.module
(macro_definition name: (identifier) @name (macro_rule) @body) @definition.macro
(field_declaration name: (field_identifier) @name) @definition.field
(enum_variant name: (identifier) @name) @definition.field
(const_item name: (identifier) @name) @definition.constant
(static_item name: (identifier) @name) @definition.constant
(type_item name: (type_identifier) @name) @definition.type
(associated_type name: (type_identifier) @name) @definition.field

(use_declaration (visibility_modifier) @reexport argument: (_) @clause) @import
(use_declaration argument: (_) @clause) @import
(mod_item !body name: (identifier) @module_file) @import

(call_expression function: [
  (identifier) @reference
  (scoped_identifier name: (identifier) @reference)
  (field_expression field: (field_identifier) @reference)])
(macro_invocation macro: (identifier) @reference)
(struct_expression name: (type_identifier) @reference)
(parameter type: [(type_identifier) @reference (reference_type type: (type_identifier) @reference)])
