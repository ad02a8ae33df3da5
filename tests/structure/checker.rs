//! The checker of import circles finds what it must, and only that.

use super::graph::Graph;
use super::source::{Crate, lines_of_raw_strings};

fn knots(text: &str) -> Vec<Vec<String>> {
    Graph::new(&Crate::parse(text)).knots().into_iter().map(|knot| knot.modules).collect()
}

fn imports(text: &str) -> Vec<String> {
    let graph = Graph::new(&Crate::parse(text));
    let named = graph.imports.keys().map(|(from, to)| (graph.name(*from), graph.name(*to)));
    named.map(|(from, to)| format!("{from} -> {to}")).collect()
}

#[test]
fn siblings_that_import_each_other_are_a_knot() {
    let text = "
        mod a { use crate::b::B; pub struct A; }
        mod b { use super::a::A; pub struct B; }
        mod c { use super::a::A; }";
    assert_eq!(knots(text), [["a", "b"]]);
}

#[test]
fn a_circle_over_three_modules_is_a_knot() {
    let text = "
        mod a { fn f() { crate::b::f() } }
        mod b { pub fn f() { super::c::f() } }
        mod c { pub fn f() { crate::a::f() } }";
    assert_eq!(knots(text), [["a", "b", "c"]]);
}

#[test]
fn modules_that_import_one_way_are_no_knot() {
    let text = "
        mod a { use crate::b::B; use crate::c::C; }
        mod b { use super::c::C; pub struct B; }
        mod c { pub struct C; }";
    assert_eq!(knots(text), [[""; 0]; 0]);
}

#[test]
fn a_parent_and_its_child_may_import_each_other() {
    let text = "
        mod a {
            pub struct A;
            mod below { use super::A; pub fn f(_: A) {} }
            pub fn g() { below::f(A) }
        }";
    assert_eq!(imports(text), ["a -> a::below", "a::below -> a"]);
    assert_eq!(knots(text), [[""; 0]; 0]);
}

#[test]
fn children_that_import_each_other_are_a_knot_even_where_their_parent_imports_both() {
    let text = "
        mod a {
            pub struct A;
            mod b { use super::{A, c::C}; pub struct B; }
            mod c { use super::{A, b::B}; pub struct C; }
            fn f(_: b::B, _: c::C) {}
        }";
    assert_eq!(knots(text), [["a::b", "a::c"]]);
}

#[test]
fn a_circle_through_the_child_of_another_module_is_a_knot() {
    let text = "
        mod a { pub struct A; mod below { use crate::b::B; } fn f() { below::f() } }
        mod b { use crate::a::A; pub struct B; }";
    assert_eq!(knots(text), [["a", "a::below", "b"]]);
}

#[test]
fn an_import_through_a_re_export_is_one_of_the_module_that_defines_it() {
    let text = "
        pub use a::A;
        mod a { pub struct A; use crate::b::B; }
        mod b { use crate::A; pub struct B; }";
    assert_eq!(imports(text), ["crate -> a", "a -> b", "b -> a"]);
    assert_eq!(knots(text), [["a", "b"]]);
}

#[test]
fn re_exports_are_followed_through_globs_aliases_and_modules() {
    let text = "
        mod a { pub use inner::*; mod inner { pub struct A; } }
        mod b { pub use super::a::A as Renamed; }
        mod c { use crate::b; fn f(_: b::Renamed) {} }";
    assert!(imports(text).contains(&"c -> a::inner".to_owned()), "{:?}", imports(text));
}

#[test]
fn tests_do_not_count() {
    let text = "
        mod a { pub struct A; #[cfg(test)] mod tests { use crate::b::B; } }
        mod b { use crate::a::A; pub struct B; #[cfg(test)] use crate::c::{C, D}; }
        mod c { use crate::b::B; #[cfg(test)] #[allow(unused)] fn f() { crate::a::g(); } }";
    assert_eq!(imports(text), ["b -> a", "c -> b"]);
}

#[test]
fn code_that_only_tests_leave_out_counts() {
    let text = "mod a { #[cfg(not(test))] use crate::b::B; } mod b { pub struct B; }";
    assert_eq!(imports(text), ["a -> b"]);
}

#[test]
fn groups_and_nested_groups_are_taken_apart() {
    let text = "
        mod a { use crate::{b::{self, B}, c::{C as Other, d::{D}}}; }
        mod b { pub struct B; }
        mod c { pub struct C; pub mod d { pub struct D; } }";
    assert_eq!(imports(text), ["a -> b", "a -> c", "a -> c::d"]);
}

#[test]
fn paths_in_the_code_count_like_imports() {
    for code in [
        "fn f() { super::b::g(1) }",
        "fn f(it: crate::b::B) {}",
        "fn f() -> Vec<Option<super::b::B>> { todo!() }",
        "fn f() { println!(\"{}\", [super::b::g(1)]) }",
        "fn f() { use super::b::B; }",
        "use crate::b; fn f() { b::g(1) }",
        "#[derive(Deserialize)] struct S { #[serde(default = \"crate::b::g\")] s: u8 }",
        "impl From<super::b::B> for u8 {}",
        "impl super::b::Trait for u8 {}",
        "fn f(it: u8) { match it { super::b::ONE => {} } }",
    ] {
        let text = format!("mod a {{ {code} }} mod b {{ pub struct B; }}");
        assert_eq!(imports(&text), ["a -> b"], "{code}");
    }
}

#[test]
fn other_crates_and_visibility_are_no_imports() {
    let text = "
        mod http { pub(in crate::serve) struct A; use ::serve::B; use std::fmt; fn f() { fmt::g() \
        } }
        mod serve { use ::http::HeaderMap; fn f() { tokio::spawn(::http::g()) } }";
    assert_eq!(imports(text), [""; 0]);
}

#[test]
fn a_function_and_a_module_of_one_name_are_told_apart() {
    let text = "
        pub use planner::plan;
        pub mod plan { pub struct Plan; }
        mod planner { pub fn plan() {} }
        mod a { fn f() { crate::plan() } }
        mod b { use crate::plan::Plan; }";
    assert_eq!(imports(text), ["crate -> planner", "a -> planner", "b -> plan"]);
}

#[test]
fn functions_are_measured_from_their_signature_to_their_closing_brace() {
    let text = "/// Doc.\n#[must_use]\npub fn a(\n  b: u8,\n) {\n}\n#[cfg(test)]\nfn c() {}\n";
    let file = &Crate::parse(text).files[0];
    let measured: Vec<_> = file.functions.iter().map(|it| (it.line, it.lines)).collect();
    assert_eq!(measured, [(3, 4)]);
    assert_eq!(file.lines, 8);
}

#[test]
fn raw_strings_are_found_with_all_their_lines() {
    let text = "fn f() {\n    g(r#\"a\nb\"#);\n    h(\"c\", r\"d\");\n    r#match();\n}\n";
    assert_eq!(lines_of_raw_strings(text), [2..=3, 4..=4]);
}
