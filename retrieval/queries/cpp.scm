; What C++ adds to C; loaded after c.scm.

(class_specifier name: (type_identifier) @name body: (_) @body) @definition.class
(class_specifier name: (template_type name: (type_identifier) @name) body: (_) @body) @definition.class
(struct_specifier name: (template_type name: (type_identifier) @name) body: (_) @body) @definition.struct

(function_definition
  declarator: [
    (reference_declarator (function_declarator declarator: (identifier) @name))
    (function_declarator declarator: [(field_identifier) (destructor_name) (operator_name)] @name)
    (pointer_declarator declarator: (function_declarator declarator: [(field_identifier) (operator_name)] @name))
    (reference_declarator (function_declarator declarator: [(field_identifier) (operator_name)] @name))]
  body: (_)? @body) @definition.function

(function_definition
  declarator: [
    (function_declarator declarator: (qualified_identifier scope: (_) @receiver name: (_) @name))
    (pointer_declarator
      declarator: (function_declarator declarator: (qualified_identifier scope: (_) @receiver name: (_) @name)))
    (reference_declarator
      (function_declarator declarator: (qualified_identifier scope: (_) @receiver name: (_) @name)))]
  body: (_) @body) @definition.function

(field_declaration
  declarator: [
    (function_declarator declarator: [(field_identifier) (operator_name)] @name)
    (pointer_declarator declarator: (function_declarator declarator: [(field_identifier) (operator_name)] @name))
    (reference_declarator (function_declarator declarator: [(field_identifier) (operator_name)] @name))
  ]) @definition.method
(field_declaration declarator: (reference_declarator (field_identifier) @name)) @definition.field
(declaration declarator: (reference_declarator (function_declarator declarator: (identifier) @name))) @definition.function

(alias_declaration name: (type_identifier) @name) @definition.type
(concept_definition name: (identifier) @name) @definition.type
(declaration_list (declaration declarator: (init_declarator declarator: (identifier) @name)) @definition.constant)

(call_expression function: (qualified_identifier name: (identifier) @reference))
(new_expression type: (type_identifier) @reference)
(base_class_clause (type_identifier) @reference)
