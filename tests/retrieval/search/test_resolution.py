"""Imports of every full-context language resolve to the workspace's files."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tests.retrieval.checking import check, ranked


def test_tsconfig_paths_and_extended_configs() -> None:
    check(
        """
        === tsconfig.base.json
        { // comments are allowed
          "compilerOptions": { "baseUrl": ".", "paths": { "@lib/*": ["packages/lib/src/*"], "exact": ["one.ts"] }, } }
        === app/tsconfig.json
        { "extends": "../tsconfig.base.json" }
        === packages/lib/src/box.ts
        export class Box {}
        === one.ts
        export const only = 1;
        === app/main.ts
        import { Box } from "@lib/box";
        import { only } from "exact";
        only; Box▮
        """,
        "packages/lib/src/box.ts::Box",
        "one.ts::only",
    )


def test_a_workspace_package_is_found_by_its_name() -> None:
    check(
        """
        === packages/ui/package.json
        { "name": "@shop/ui", "main": "dist/index.js", "exports": { ".": { "types": "./src/index.ts" } } }
        === packages/ui/src/index.ts
        export function Button() {}
        === packages/ui/src/deep/thing.ts
        export function thing() {}
        === apps/web/main.tsx
        import { Button } from "@shop/ui";
        import { thing } from "@shop/ui/deep/thing";
        thing; Button▮
        """,
        "packages/ui/src/index.ts::Button",
        "packages/ui/src/deep/thing.ts::thing",
    )


def test_the_at_sign_means_the_source_folder() -> None:
    check("=== src/a/b.ts\nexport const b = 1;\n=== src/c.ts\nimport { b } from '@/a/b';\nb▮\n", "src/a/b.ts::b")


def test_go_modules() -> None:
    check(
        """
        === go.mod
        module example.com/shop
        go 1.22
        === models/order.go
        package models
        // Order is bought.
        type Order struct { ID int }
        func (o *Order) Total(tax float64) float64 { return 0 }
        === models/order_test.go
        package models
        func TestOrder() {}
        === api/api.go
        package api
        import m "example.com/shop/models"
        func Create() { o := m.Order{}; o.▮ }
        """,
        "models/order.go::Order",
    )


def test_go_files_of_one_folder_see_each_other() -> None:
    check(
        "=== p/a.go\npackage p\nfunc help(x int) {}\n=== p/b.go\npackage p\nfunc f() { help▮ }\n",
        "p/a.go::help",
    )


def test_rust_modules_crates_and_re_exports() -> None:
    check(
        """
        === Cargo.toml
        [package]
        name = "my-shop"
        === src/lib.rs
        pub mod models;
        pub use models::order::Order;
        === src/models/mod.rs
        pub mod order;
        === src/models/order.rs
        use super::tax::rate;
        /// An order.
        #[derive(Debug)]
        pub struct Order { pub id: u32 }
        impl Order { pub fn total(&self, tax: f64) -> f64 { 0.0 } }
        === src/models/tax.rs
        pub fn rate() -> f64 { 0.1 }
        === src/main.rs
        use crate::models::{order::Order, tax};
        fn main() { tax::rate(); Order▮ }
        """,
        "src/models/order.rs::Order",
        "src/models/tax.rs::rate",
    )


def test_a_rust_crate_of_the_workspace_is_found_by_its_name() -> None:
    check(
        """
        === core/Cargo.toml
        [package]
        name = "shop-core"
        === core/src/lib.rs
        mod inner;
        pub use inner::Thing as Gadget;
        === core/src/inner.rs
        pub struct Thing;
        === app/Cargo.toml
        [package]
        name = "app"
        === app/src/main.rs
        use shop_core::Gadget;
        fn main() { Gadget▮ }
        """,
        "core/src/inner.rs::Thing",
    )


def test_java_packages_wildcards_and_static_imports() -> None:
    check(
        """
        === src/main/java/com/shop/models/Order.java
        package com.shop.models;
        public class Order { public double total(double tax) { return 0; } }
        === src/main/java/com/shop/util/Money.java
        package com.shop.util;
        public class Money { public static String format(int cents) { return ""; } }
        === src/main/java/com/shop/all/Item.java
        package com.shop.all;
        public class Item {}
        === src/main/java/com/shop/api/Api.java
        package com.shop.api;
        import com.shop.models.Order;
        import com.shop.all.*;
        import static com.shop.util.Money.format;
        class Api {
          void create() {
            Item item = null;

            format(3);

            Order o = new Order▮
        """,
        "src/main/java/com/shop/models/Order.java::Order",
        "src/main/java/com/shop/util/Money.java::Money",
        "src/main/java/com/shop/all/Item.java::Item",
    )


def test_kotlin_packages_and_aliases() -> None:
    check(
        """
        === models/Stuff.kt
        package com.shop.models
        class Order(val id: Int) {
            fun total(tax: Double): Double = 0.0
        }
        === api/Api.kt
        package com.shop.api
        import com.shop.models.Order as O
        fun create() { val o = O▮ }
        """,
        "models/Stuff.kt::Order",
    )


def test_scala_selectors() -> None:
    check(
        """
        === m/Models.scala
        package com.shop.models
        case class Order(id: Int)
        class Item
        === a/Api.scala
        package com.shop.api
        import com.shop.models.{Order => O, Item}
        object Api { val i = new Item; O▮ }
        """,
        "m/Models.scala::Order",
        "m/Models.scala::Item",
    )


def test_c_includes_and_includes_of_includes() -> None:
    check(
        """
        === include/shop/order.h
        #include "tax.h"
        struct order { int id; };
        double order_total(struct order *o, double tax);
        === include/shop/tax.h
        double tax_rate(void);
        === src/main.c
        #include <stdio.h>
        #include "shop/order.h"
        int main(void) { tax_rate(); order_total(▮
        """,
        "include/shop/order.h::order_total",
        "include/shop/tax.h::tax_rate",
    )


def test_cpp_classes_come_with_their_members() -> None:
    check(
        """
        === lib/box.hpp
        namespace shop {
        // A box.
        template <typename T> class Box : public Base<T> {
         public:
          explicit Box(int n);
          T take(const std::string &key) const;
        };
        }
        === app/main.cpp
        #include "box.hpp"
        int main() { shop::Box<int> b(1); b.▮ }
        """,
        "lib/box.hpp::Box",
    )


def test_csharp_namespaces() -> None:
    check(
        """
        === Models/Order.cs
        namespace Shop.Models;
        public class Order { public int Id { get; set; } }
        public class Unused { }
        === Api/Api.cs
        using System;
        using Shop.Models;
        namespace Shop.Api { class Api { void Create() { var o = new Order▮ } } }
        """,
        "Models/Order.cs::Order",
    )


def test_ruby_requires() -> None:
    check(
        """
        === lib/shop/order.rb
        module Shop
          class Order
            def total(tax) = 0
          end
        end
        === lib/shop/tax.rb
        def rate; end
        === lib/shop/api.rb
        require_relative "order"
        require "shop/tax"
        rate
        Shop::Order▮
        """,
        "lib/shop/order.rb::Shop.Order",
        "lib/shop/tax.rb::rate",
    )


def test_php_namespaces_groups_and_includes() -> None:
    check(
        r"""
        === src/Models/Order.php
        <?php
        namespace App\Models;
        class Order { public function total(float $tax): float { return 0; } }
        === src/Models/Item.php
        <?php
        namespace App\Models;
        class Item {}
        === lib/tools.php
        <?php
        function hammer($nail) {}
        === src/Api.php
        <?php
        namespace App;
        use App\Models\{Order, Item as Thing};
        require_once __DIR__ . '/../lib/tools.php';
        hammer(1);

        new Thing();

        new Order▮
        """,
        "src/Models/Order.php::Order",
        "src/Models/Item.php::Item",
        "lib/tools.php::hammer",
    )


def test_lua_requires() -> None:
    check(
        """
        === lua/shop/order.lua
        local M = {}
        -- Adds up.
        function M.total(order, tax) return 0 end
        return M
        === lua/shop/api.lua
        local order = require("shop.order")
        order.total▮
        """,
        "lua/shop/order.lua::total",
    )


def test_bash_sourced_files() -> None:
    check(
        """
        === lib/log.sh
        # Says it.
        log_info() { echo "$1"; }
        === bin/run.sh
        #!/bin/bash
        source "$(dirname "$0")/../lib/log.sh"
        log_info▮
        """,
        "lib/log.sh::log_info",
    )


FURTHER = {
    "python, a module under another name": """
        === shop/models.py
        class Order: pass
        === main.py
        import shop.models as m
        m.Order▮
        """,
    "python, everything of a module": """
        === shop/models.py
        class Order: pass
        === main.py
        from shop.models import *
        Order▮
        """,
    "javascript, a name under another name": """
        === shop/models.js
        export class Order {}
        === main.js
        import { Order as Bought } from "./shop/models.js";
        Bought▮
        """,
    "tsx, what a file exports by default": """
        === shop/models.tsx
        export default function Order(props: Props) { return <b>{props.name}</b>; }
        === main.tsx
        import Order from "./shop/models";
        const page = <Order▮
        """,
    "typescript, types alone": """
        === shop/models.ts
        export interface Order { id: number }
        === main.ts
        import type { Order } from "./shop/models";
        const one: Order▮
        """,
    "go, a package under no other name": """
        === go.mod
        module example.com/app
        === shop/models.go
        package shop
        type Order struct { ID int }
        === main.go
        package main
        import "example.com/app/shop"
        func main() { o := shop.Order▮ }
        """,
    "rust, a module of the file's own": """
        === Cargo.toml
        [package]
        name = "app"
        === src/shop/models.rs
        pub struct Order;
        === src/shop.rs
        pub mod models;
        === src/main.rs
        mod shop;
        use shop::models::Order as Bought;
        fn main() { Bought▮ }
        """,
    "java, a class of the same package": """
        === src/com/shop/Order.java
        package com.shop;
        public class Order {}
        === src/com/shop/Api.java
        package com.shop;
        class Api { void create() { Order o = new Order▮
        """,
    "kotlin, everything of a package": """
        === shop/Models.kt
        package com.shop
        class Order(val id: Int)
        === Main.kt
        package com.app
        import com.shop.*
        fun main() { val o = Order▮ }
        """,
    "scala, everything of a package": """
        === shop/Models.scala
        package com.shop
        class Order
        === Main.scala
        package com.app
        import com.shop._
        object Main { val o = new Order▮ }
        """,
    "c, a header above": """
        === shop.h
        struct Order { int id; };
        === src/main.c
        #include "../shop.h"
        struct Order▮
        """,
    "c++, a header of a library's own folder": """
        === libs/shop/include/shop/models.hpp
        class Order { public: int id; };
        === libs/shop/src/main.cpp
        #include <shop/models.hpp>
        Order▮
        """,
    "c#, a class under another name": """
        === Models.cs
        namespace Shop.Models { public class Order { } }
        === Api.cs
        using Bought = Shop.Models.Order;
        class Api { Bought▮ }
        """,
    "php, a function": """
        === shop.php
        <?php
        namespace Shop;
        function Order($id) {}
        === main.php
        <?php
        use function Shop\\Order;
        Order▮
        """,
    "ruby, a file beside": """
        === shop/models.rb
        class Order; end
        === shop/main.rb
        require_relative "./models"
        Order▮
        """,
    "lua, a module in parts": """
        === shop/models.lua
        local M = {}
        function M.Order(id) end
        return M
        === main.lua
        local Order = require("shop.models").Order
        Order▮
        """,
    "bash, a file by a dot": """
        === lib/models.sh
        Order() { echo; }
        === main.sh
        . ./lib/models.sh
        Order▮
        """,
}


@pytest.mark.parametrize("name", FURTHER)
def test_an_import_leads_to_the_file_it_means(name: str) -> None:
    text = dedent(FURTHER[name])
    best = ranked(text)[0]
    assert best.names[0].rpartition(".")[2] == "Order"
    assert best.source == "import" or name.startswith("java"), "a package's own files need no import"
