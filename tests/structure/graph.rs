//! Which module of a crate imports which, and where the imports go in circles.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::path::PathBuf;

use super::source::{Crate, Module};
use super::workspace::shown;

/// The modules of a crate and their imports, each with the first place that has it.
pub(crate) struct Graph {
    pub modules: Vec<Vec<String>>,
    pub imports: BTreeMap<(usize, usize), Place>,
}

#[derive(Clone)]
pub(crate) struct Place {
    pub file: PathBuf,
    pub line: usize,
}

/// Modules that import each other in a circle.
pub(crate) struct Knot {
    pub modules: Vec<String>,
    pub imports: Vec<(String, String, Place)>,
}

/// What a path leads to.
#[derive(Clone, Copy)]
enum Target {
    Module(usize),
    /// An item, by the module that defines it.
    Item(usize),
}

struct Resolver<'a> {
    modules: &'a [Module],
    by_path: BTreeMap<&'a [String], usize>,
}

impl Graph {
    pub(crate) fn new(of: &Crate) -> Self {
        let by_path = of.modules.iter().enumerate().map(|(i, it)| (it.path.as_slice(), i));
        let resolver = Resolver { modules: &of.modules, by_path: by_path.collect() };
        let mut imports = BTreeMap::new();
        for (from, module) in of.modules.iter().enumerate() {
            let uses = module.imports.iter().map(|it| (&it.path, false, it.line));
            let mentions = module.mentions.iter().map(|it| (&it.path, it.is_value, it.line));
            for (path, is_value, line) in uses.chain(mentions) {
                let target = resolver.resolve(from, path, is_value, &mut HashSet::new());
                let Some(Target::Module(to) | Target::Item(to)) = target else { continue };
                let place = Place { file: module.file.clone(), line };
                if to != from {
                    imports.entry((from, to)).or_insert(place);
                }
            }
        }
        Self { modules: of.modules.iter().map(|module| module.path.clone()).collect(), imports }
    }

    /// The sets of modules that import each other in a circle.
    ///
    /// A module may import the modules below it, and they may import it. Without that module, the
    /// rest of its circle must follow the same rule: two of its children that import each other are
    /// a knot.
    pub(crate) fn knots(&self) -> Vec<Knot> {
        let mut knots = Vec::new();
        self.collect_knots(&(0..self.modules.len()).collect(), &mut knots);
        knots.sort_by_key(|members| std::cmp::Reverse(members.len()));
        knots.iter().map(|members| self.knot(members)).collect()
    }

    fn collect_knots(&self, among: &BTreeSet<usize>, knots: &mut Vec<BTreeSet<usize>>) {
        for mut component in self.components(among) {
            if component.len() == 1 {
                continue;
            }
            let top =
                *component.iter().min_by_key(|it| self.modules[**it].len()).expect("not empty");
            let is_below = |it: &usize| self.modules[*it].starts_with(&self.modules[top]);
            if component.iter().all(is_below) {
                component.remove(&top);
                self.collect_knots(&component, knots);
            } else {
                knots.push(component);
            }
        }
    }

    /// All strongly connected components of these modules, single modules included.
    pub(crate) fn components(&self, among: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
        let mut search = Tarjan::new(self, among);
        for &module in among {
            if !search.order.contains_key(&module) {
                search.visit(module);
            }
        }
        search.components
    }

    fn targets(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        self.imports.range((from, 0)..=(from, usize::MAX)).map(|((_, to), _)| *to)
    }

    pub(crate) fn name(&self, module: usize) -> String {
        let path = &self.modules[module];
        if path.is_empty() { "crate".to_owned() } else { path.join("::") }
    }

    fn knot(&self, members: &BTreeSet<usize>) -> Knot {
        let inside = |from: &usize, to: &usize| members.contains(from) && members.contains(to);
        let imports = self.imports.iter().filter(|((from, to), _)| inside(from, to));
        Knot {
            modules: members.iter().map(|it| self.name(*it)).collect(),
            imports: imports
                .map(|((from, to), place)| (self.name(*from), self.name(*to), place.clone()))
                .collect(),
        }
    }
}

impl fmt::Display for Knot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} modules: {}", self.modules.len(), self.modules.join(", "))?;
        for (from, to, Place { file, line }) in &self.imports {
            writeln!(f, "  {from} -> {to} ({}:{line})", shown(file))?;
        }
        Ok(())
    }
}

impl Resolver<'_> {
    /// Follows a path from a module. `None` when it leads out of the crate.
    fn resolve(
        &self,
        from: usize,
        path: &[String],
        is_value: bool,
        seen: &mut HashSet<(usize, String)>,
    ) -> Option<Target> {
        let mut at = from;
        for (position, segment) in path.iter().enumerate() {
            match segment.as_str() {
                "crate" => at = 0,
                "self" => {}
                "super" => at = self.modules[at].parent?,
                name => {
                    let is_last = position + 1 == path.len();
                    match self.find(at, name, is_value && is_last, seen) {
                        Some(Target::Module(module)) => at = module,
                        Some(item) => return Some(item),
                        // Names that a macro defines are not seen here; they are of this module.
                        None if position > 0 => return Some(Target::Item(at)),
                        None => return None,
                    }
                }
            }
        }
        Some(Target::Module(at))
    }

    /// What a name means in a module: a child, an item of its own, or something that it imports.
    fn find(
        &self,
        module: usize,
        name: &str,
        is_value: bool,
        seen: &mut HashSet<(usize, String)>,
    ) -> Option<Target> {
        if !seen.insert((module, name.to_owned())) {
            return None;
        }
        let path = self.modules[module].path.iter().cloned().chain([name.to_owned()]);
        let child = self.by_path.get(path.collect::<Vec<_>>().as_slice());
        let child = child.map(|it| Target::Module(*it));
        if is_value {
            self.find_item(module, name, is_value, seen).or(child)
        } else {
            child.or_else(|| self.find_item(module, name, is_value, seen))
        }
    }

    fn find_item(
        &self,
        module: usize,
        name: &str,
        is_value: bool,
        seen: &mut HashSet<(usize, String)>,
    ) -> Option<Target> {
        let here = &self.modules[module];
        if here.items.contains(name) {
            return Some(Target::Item(module));
        }
        if let Some(import) = here.imports.iter().find(|it| it.name.as_deref() == Some(name)) {
            // Imported from another crate: whoever takes it from here depends on this module.
            let target = self.resolve(module, &import.path, is_value, seen);
            return Some(target.unwrap_or(Target::Item(module)));
        }
        let globs = here.imports.iter().filter(|it| it.name.is_none());
        for import in globs {
            let glob = self.resolve(module, &import.path, false, seen);
            if let Some(Target::Module(glob)) = glob
                && let Some(found) = self.find(glob, name, is_value, seen)
            {
                return Some(found);
            }
        }
        None
    }
}

/// Tarjan's search for strongly connected components.
struct Tarjan<'a> {
    graph: &'a Graph,
    among: &'a BTreeSet<usize>,
    order: BTreeMap<usize, usize>,
    lowest: BTreeMap<usize, usize>,
    stack: Vec<usize>,
    components: Vec<BTreeSet<usize>>,
}

impl<'a> Tarjan<'a> {
    fn new(graph: &'a Graph, among: &'a BTreeSet<usize>) -> Self {
        let (order, lowest) = (BTreeMap::new(), BTreeMap::new());
        Self { graph, among, order, lowest, stack: Vec::new(), components: Vec::new() }
    }

    fn visit(&mut self, module: usize) {
        let number = self.order.len();
        self.order.insert(module, number);
        self.lowest.insert(module, number);
        self.stack.push(module);
        let graph = self.graph;
        for target in graph.targets(module).filter(|it| self.among.contains(it)) {
            let reached = if !self.order.contains_key(&target) {
                self.visit(target);
                self.lowest[&target]
            } else if self.stack.contains(&target) {
                self.order[&target]
            } else {
                continue;
            };
            let lowest = self.lowest[&module].min(reached);
            self.lowest.insert(module, lowest);
        }
        if self.lowest[&module] == number {
            let start = self.stack.iter().position(|it| *it == module).expect("it is on the stack");
            self.components.push(self.stack.drain(start..).collect());
        }
    }
}
