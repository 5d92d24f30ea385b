//! Length, parameters and nesting of functions.

use std::collections::BTreeSet;
use std::path::PathBuf;

use oic_testkit::source::{self, Source, Text};
use syn::spanned::Spanned as _;
use syn::visit::Visit;

use super::{is_code, list, print, spread};

/// A function that is no test code.
struct Function {
    name: String,
    first: usize,
    last: usize,
    parameters: usize,
    nesting: usize,
    is_of_trait: bool,
}

/// Prints the measures of this module.
pub fn measure(source: &Source, texts: &[(PathBuf, Text)]) {
    let mut lengths = Vec::new();
    let (mut long, mut wide, mut deep) = (Vec::new(), Vec::new(), Vec::new());
    for (file, text) in texts {
        let code: BTreeSet<usize> = text
            .lines
            .iter()
            .filter(|(_, line)| is_code(line))
            .map(|(number, _)| *number)
            .collect();
        let mut functions = Functions::default();
        for module in source.modules().iter().filter(|module| module.file == *file) {
            module.items().iter().for_each(|item| functions.visit_item(item));
        }
        for function in functions.found {
            let length = code.range(function.first..=function.last).count();
            let place = format!("{}:{} {}", file.display(), function.first, function.name);
            lengths.push(length);
            if length > 60 {
                long.push(format!("{place} {length}"));
            }
            if function.parameters > 5 && !function.is_of_trait {
                wide.push(format!("{place} {}", function.parameters));
            }
            if function.nesting > 4 {
                deep.push(format!("{place} {}", function.nesting));
            }
        }
    }
    print("functions", lengths.len());
    print("function, lines: median / p90 / p99 / max", spread(lengths.clone()));
    print(
        "functions over 40 lines",
        lengths.iter().filter(|length| **length > 40).count(),
    );
    print("functions over 60 lines", list(&long));
    print("over 5 parameters, outside of traits", list(&wide));
    print("nesting over 4", list(&deep));
}

#[derive(Default)]
struct Functions {
    found: Vec<Function>,
    is_of_trait: bool,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, first: usize, block: &syn::Block) {
        let mut nesting = Nesting::default();
        nesting.visit_block(block);
        self.found.push(Function {
            name: signature.ident.to_string(),
            first,
            last: block.span().end().line,
            parameters: signature.inputs.len(),
            nesting: nesting.deepest,
            is_of_trait: self.is_of_trait,
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !source::is_test(source::attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let around = std::mem::replace(&mut self.is_of_trait, item.trait_.is_some());
        syn::visit::visit_item_impl(self, item);
        self.is_of_trait = around;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(
            &item.sig,
            item.vis.span().start().line.max(item.sig.span().start().line),
            &item.block,
        );
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !source::is_test(&item.attrs) {
            self.add(&item.sig, item.sig.span().start().line, &item.block);
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, item.sig.span().start().line, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

/// The depth of blocks inside one another.
#[derive(Default)]
struct Nesting {
    depth: usize,
    deepest: usize,
}

impl Nesting {
    fn inside(&mut self, visit: impl FnOnce(&mut Self)) {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        visit(self);
        self.depth -= 1;
    }
}

impl<'ast> Visit<'ast> for Nesting {
    fn visit_item(&mut self, _: &'ast syn::Item) {
        // A function inside is one of its own.
    }

    fn visit_expr_if(&mut self, node: &'ast syn::ExprIf) {
        self.visit_expr(&node.cond);
        self.inside(|this| this.visit_block(&node.then_branch));
        match node.else_branch.as_ref().map(|(_, other)| &**other) {
            // `else if` is no deeper than its `if`.
            Some(syn::Expr::If(other)) => self.visit_expr_if(other),
            Some(other) => self.inside(|this| this.visit_expr(other)),
            None => {}
        }
    }

    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        self.visit_expr(&node.expr);
        self.inside(|this| node.arms.iter().for_each(|arm| this.visit_arm(arm)));
    }

    fn visit_expr_for_loop(&mut self, node: &'ast syn::ExprForLoop) {
        self.visit_expr(&node.expr);
        self.inside(|this| this.visit_block(&node.body));
    }

    fn visit_expr_while(&mut self, node: &'ast syn::ExprWhile) {
        self.visit_expr(&node.cond);
        self.inside(|this| this.visit_block(&node.body));
    }

    fn visit_expr_loop(&mut self, node: &'ast syn::ExprLoop) {
        self.inside(|this| this.visit_block(&node.body));
    }

    fn visit_expr_closure(&mut self, node: &'ast syn::ExprClosure) {
        match &*node.body {
            syn::Expr::Block(_) => self.inside(|this| this.visit_expr(&node.body)),
            body => self.visit_expr(body),
        }
    }
}
