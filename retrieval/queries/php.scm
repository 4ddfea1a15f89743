; PHP: definitions, uses, references.

(class_declaration name: (name) @name body: (_) @body) @definition.class
(interface_declaration name: (name) @name body: (_) @body) @definition.interface
(trait_declaration name: (name) @name body: (_) @body) @definition.trait
(enum_declaration name: (name) @name body: (_) @body) @definition.enum
(function_definition name: (name) @name body: (_) @body) @definition.function
(method_declaration name: (name) @name body: (_)? @body) @definition.method
(property_declaration (property_element name: (variable_name (name) @name))) @definition.field
(property_promotion_parameter name: (variable_name (name) @name)) @definition.field
(const_declaration (const_element (name) @name)) @definition.constant
(enum_case name: (name) @name) @definition.field

(namespace_use_declaration) @import @clause
([
  (require_once_expression) (require_expression) (include_expression) (include_once_expression)
] @import @clause)
(namespace_definition name: (namespace_name) @package)

(function_call_expression function: (name) @reference)
(member_call_expression name: (name) @reference)
(scoped_call_expression scope: (name) @reference name: (name) @reference)
(object_creation_expression (name) @reference)
(named_type (name) @reference)
(base_clause (name) @reference)
