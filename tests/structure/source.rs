//! Rust sources as the rules need them: modules, names, imports, functions and tokens of a crate,
//! without what `#[cfg(test)]` guards.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Ident, Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, UseTree};

/// The modules and files of one library or program.
#[derive(Default)]
pub(crate) struct Crate {
    /// The first module is the root.
    pub modules: Vec<Module>,
    pub files: Vec<File>,
}

pub(crate) struct File {
    pub path: PathBuf,
    pub lines: usize,
    pub tokens: Vec<Token>,
    pub functions: Vec<Function>,
}

/// An identifier, a literal as it is written, or one character of punctuation.
pub(crate) struct Token {
    pub text: String,
    pub line: usize,
}

pub(crate) struct Function {
    pub name: String,
    pub line: usize,
    /// From `fn` to the closing brace, both lines included.
    pub lines: usize,
}

#[derive(Default)]
pub(crate) struct Module {
    /// The path below the crate; empty for the root.
    pub path: Vec<String>,
    pub file: PathBuf,
    pub parent: Option<usize>,
    /// What the module itself defines, without its child modules.
    pub items: BTreeSet<String>,
    pub imports: Vec<Import>,
    pub mentions: Vec<Mention>,
}

/// A leaf of a `use` declaration.
pub(crate) struct Import {
    /// The name that it brings into scope, or `None` for a glob.
    pub name: Option<String>,
    pub path: Vec<String>,
    pub line: usize,
}

/// A path in the code, such as `super::Error`.
pub(crate) struct Mention {
    pub path: Vec<String>,
    /// Whether it is in an expression, where a function takes precedence over a module of the same
    /// name.
    pub is_value: bool,
    pub line: usize,
}

/// The lines that each raw string of a file covers.
pub(crate) fn lines_of_raw_strings(text: &str) -> Vec<RangeInclusive<usize>> {
    let mut tokens = Vec::new();
    flatten(text.parse().expect("a file is made of tokens"), &mut tokens);
    let prefixes = ["r\"", "r#", "br\"", "br#"];
    let is_raw = |token: &&Token| {
        token.text.ends_with(['"', '#']) && prefixes.iter().any(|it| token.text.starts_with(it))
    };
    let raw = tokens.iter().filter(is_raw);
    raw.map(|token| token.line..=token.line + token.text.matches('\n').count()).collect()
}

impl Crate {
    /// Reads the root file of a library or program and all files of its modules.
    pub(crate) fn read(root: &Path) -> Self {
        let mut read = Self::default();
        read.add_file(Vec::new(), None, root, root.parent().expect("a file is in a folder"));
        read
    }

    /// Reads a crate whose modules are all inline.
    pub(crate) fn parse(text: &str) -> Self {
        let mut read = Self::default();
        read.add_text(Vec::new(), None, Path::new("lib.rs"), Path::new("nowhere"), text);
        read
    }

    fn add_file(&mut self, path: Vec<String>, parent: Option<usize>, file: &Path, below: &Path) {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("failed to read {}: {error}", file.display()));
        self.add_text(path, parent, file, below, &text);
    }

    fn add_text(
        &mut self,
        path: Vec<String>,
        parent: Option<usize>,
        file: &Path,
        below: &Path,
        text: &str,
    ) {
        let tokens = text
            .parse::<TokenStream>()
            .unwrap_or_else(|error| panic!("failed to split {}: {error}", file.display()));
        let tokens = without_tests(tokens);
        let mut flat = Vec::new();
        flatten(tokens.clone(), &mut flat);
        let parsed: syn::File = syn::parse2(tokens)
            .unwrap_or_else(|error| panic!("failed to parse {}: {error}", file.display()));
        let mut functions = Functions::default();
        functions.visit_file(&parsed);
        self.files.push(File {
            path: file.to_owned(),
            lines: text.lines().count(),
            tokens: flat,
            functions: functions.found,
        });
        self.add_module(path, parent, file, below, &parsed.items);
    }

    fn add_module(
        &mut self,
        path: Vec<String>,
        parent: Option<usize>,
        file: &Path,
        below: &Path,
        items: &[Item],
    ) {
        let index = self.modules.len();
        let mut module = Module { path, file: file.to_owned(), parent, ..Module::default() };
        for item in items {
            module.items.extend(name(item).map(text_of));
            if !matches!(item, Item::Mod(_)) {
                module.visit_item(item);
            }
        }
        let path = module.path.clone();
        self.modules.push(module);
        for item in items {
            let Item::Mod(child) = item else { continue };
            let name = text_of(&child.ident);
            let child_path: Vec<_> = path.iter().cloned().chain([name.clone()]).collect();
            let folder = below.join(&name);
            if let Some((_, items)) = &child.content {
                self.add_module(child_path, Some(index), file, &folder, items);
                continue;
            }
            let beside = below.join(format!("{name}.rs"));
            let file = if beside.exists() { beside } else { folder.join("mod.rs") };
            self.add_file(child_path, Some(index), &file, &folder);
        }
    }
}

/// The name that an item defines. Child modules are left out.
fn name(item: &Item) -> Option<&Ident> {
    Some(match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    })
}

fn text_of(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

fn line_of(ident: &Ident) -> usize {
    ident.span().start().line
}

/// Leaves out every item behind `#[cfg(test)]`. An item ends with a semicolon or a block.
fn without_tests(tokens: TokenStream) -> TokenStream {
    let mut rest = tokens.into_iter().peekable();
    let mut kept = Vec::new();
    while let Some(token) = rest.next() {
        let is_test = is_punct(&token, '#') && rest.peek().is_some_and(is_cfg_test);
        if is_test {
            while let Some(skipped) = rest.next() {
                let is_block =
                    matches!(&skipped, TokenTree::Group(it) if it.delimiter() == Delimiter::Brace);
                if is_block {
                    rest.next_if(|next| is_punct(next, ';'));
                }
                if is_block || is_punct(&skipped, ';') {
                    break;
                }
            }
            continue;
        }
        kept.push(match token {
            TokenTree::Group(group) => {
                let inner = without_tests(group.stream());
                let mut without = proc_macro2::Group::new(group.delimiter(), inner);
                without.set_span(group.span());
                TokenTree::Group(without)
            }
            other => other,
        });
    }
    kept.into_iter().collect()
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(it) if it.as_char() == character)
}

/// Whether this is the bracket of `#[cfg(test)]`, or of `#[cfg(all(test, …))]`.
fn is_cfg_test(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    let mut flat = Vec::new();
    flatten(group.stream(), &mut flat);
    let has = |word: &str| flat.iter().any(|token| token.text == word);
    flat.first().is_some_and(|token| token.text == "cfg") && has("test") && !has("not")
}

fn flatten(tokens: TokenStream, into: &mut Vec<Token>) {
    for token in tokens {
        let line = token.span().start().line;
        match token {
            TokenTree::Ident(ident) => into.push(Token { text: text_of(&ident), line }),
            TokenTree::Punct(punct) => into.push(Token { text: punct.as_char().to_string(), line }),
            TokenTree::Literal(literal) => into.push(Token { text: literal.to_string(), line }),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                into.push(Token { text: open.to_owned(), line });
                flatten(group.stream(), into);
                let line = group.span_close().end().line;
                into.push(Token { text: close.to_owned(), line });
            }
        }
    }
}

/// Collects the functions of a file.
#[derive(Default)]
struct Functions {
    found: Vec<Function>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.fn_token.span.start().line;
        let end = block.brace_token.span.close().end().line;
        let name = text_of(&signature.ident);
        self.found.push(Function { name, line, lines: end + 1 - line });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

impl Module {
    fn add_import(&mut self, tree: &UseTree, mut path: Vec<String>) {
        let (name, line) = match tree {
            UseTree::Path(tree) => {
                path.push(text_of(&tree.ident));
                return self.add_import(&tree.tree, path);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.add_import(tree, path.clone()));
            }
            UseTree::Glob(glob) => (None, glob.star_token.span.start().line),
            UseTree::Name(leaf) => {
                if leaf.ident != "self" {
                    path.push(text_of(&leaf.ident));
                }
                (path.last().cloned(), line_of(&leaf.ident))
            }
            UseTree::Rename(leaf) => {
                if leaf.ident != "self" {
                    path.push(text_of(&leaf.ident));
                }
                (Some(text_of(&leaf.rename)), line_of(&leaf.ident))
            }
        };
        self.imports.push(Import { name, path, line });
    }

    fn add_mention(&mut self, path: &syn::Path, is_value: bool) {
        if path.leading_colon.is_some() || path.segments.len() < 2 {
            return;
        }
        let line = line_of(&path.segments[0].ident);
        let path = path.segments.iter().map(|segment| text_of(&segment.ident)).collect();
        self.mentions.push(Mention { path, is_value, line });
    }

    /// The arguments of a macro are tokens, and the paths among them are written `a::b`.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<Ident> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 => path.push(ident),
                TokenTree::Ident(ident) => {
                    self.add_token_path(&path);
                    path = vec![ident];
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    let continues = colons == 1 || punct.spacing() == Spacing::Joint;
                    colons = if continues { colons + 1 } else { 0 };
                    continue;
                }
                TokenTree::Group(group) => {
                    self.add_token_path(&path);
                    path.clear();
                    self.add_tokens(group.stream());
                }
                _ => {
                    self.add_token_path(&path);
                    path.clear();
                }
            }
            colons = 0;
        }
        self.add_token_path(&path);
    }

    fn add_token_path(&mut self, path: &[Ident]) {
        if path.len() > 1 {
            let line = line_of(&path[0]);
            let path = path.iter().map(text_of).collect();
            self.mentions.push(Mention { path, is_value: true, line });
        }
    }
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.add_import(&item.tree, Vec::new());
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.add_mention(path, false);
        visit::visit_path(self, path);
    }

    fn visit_expr_path(&mut self, expression: &'ast syn::ExprPath) {
        self.add_mention(&expression.path, true);
        if let Some(of) = &expression.qself {
            self.visit_qself(of);
        }
        visit::visit_path(self, &expression.path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.add_tokens(called.tokens.clone());
    }

    /// Serde takes paths as strings: `#[serde(default = "crate::defaults::port")]`.
    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let syn::Meta::List(list) = &attribute.meta else { return };
        for token in list.tokens.clone() {
            let TokenTree::Literal(literal) = token else { continue };
            let text = literal.to_string();
            if let Ok(path) = syn::parse_str::<syn::Path>(text.trim_matches('"')) {
                self.add_mention(&path, true);
            }
        }
    }

    /// `pub(in crate::serve)` depends on nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}
