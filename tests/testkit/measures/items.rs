//! Public items without documentation, and what is not wanted in code: panics, `allow`, `unsafe`.

use oic_testkit::source::{self, Source};
use syn::visit::Visit;

use super::{list, print};

/// Prints the measures of this module.
pub fn measure(source: &Source) {
    let mut items = Items::default();
    for module in source.modules() {
        items.file = module.file.display().to_string();
        module.items().iter().for_each(|item| items.visit_item(item));
    }
    print("unwrap and expect", items.unwraps);
    print("panic!, unreachable!, todo!", items.panics);
    print("#[allow] and #[expect]", items.allows);
    print("unsafe", items.unsafes);
    print("public items", items.public);
    print("undocumented public items", list(&items.undocumented));
}

#[derive(Default)]
struct Items {
    file: String,
    unwraps: usize,
    panics: usize,
    allows: usize,
    unsafes: usize,
    public: usize,
    undocumented: Vec<String>,
}

impl Items {
    fn item(&mut self, visibility: &syn::Visibility, name: impl std::fmt::Display, attributes: &[syn::Attribute]) {
        if matches!(visibility, syn::Visibility::Public(_)) {
            self.documented(name, attributes);
        }
    }

    fn documented(&mut self, name: impl std::fmt::Display, attributes: &[syn::Attribute]) {
        self.public += 1;
        // A transparent error says what the error inside says.
        let speaks = |attribute: &syn::Attribute| match &attribute.meta {
            syn::Meta::List(list) => list.path.is_ident("error") && list.tokens.to_string() == "transparent",
            other => other.path().is_ident("doc"),
        };
        if !attributes.iter().any(speaks) {
            self.undocumented.push(format!("{} {name}", self.file));
        }
    }
}

impl<'ast> Visit<'ast> for Items {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if source::is_test(source::attributes(item)) {
            return;
        }
        match item {
            syn::Item::Const(item) => self.item(&item.vis, &item.ident, &item.attrs),
            syn::Item::Enum(item) => {
                self.item(&item.vis, &item.ident, &item.attrs);
                if matches!(item.vis, syn::Visibility::Public(_)) {
                    for variant in &item.variants {
                        self.documented(format_args!("{}::{}", item.ident, variant.ident), &variant.attrs);
                    }
                }
            }
            syn::Item::Fn(item) => self.item(&item.vis, &item.sig.ident, &item.attrs),
            syn::Item::Static(item) => self.item(&item.vis, &item.ident, &item.attrs),
            syn::Item::Struct(item) => {
                self.item(&item.vis, &item.ident, &item.attrs);
                for field in item
                    .fields
                    .iter()
                    .filter_map(|field| Some((field, field.ident.as_ref()?)))
                {
                    self.item(&field.0.vis, field.1, &field.0.attrs);
                }
            }
            syn::Item::Trait(item) => {
                self.item(&item.vis, &item.ident, &item.attrs);
                for function in &item.items {
                    if let syn::TraitItem::Fn(function) = function {
                        self.item(&item.vis, &function.sig.ident, &function.attrs);
                    }
                }
            }
            syn::Item::Type(item) => self.item(&item.vis, &item.ident, &item.attrs),
            _ => {}
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !source::is_test(&item.attrs) {
            self.item(&item.vis, &item.sig.ident, &item.attrs);
            self.unsafes += usize::from(item.sig.unsafety.is_some());
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        self.allows += usize::from(attribute.path().is_ident("allow") || attribute.path().is_ident("expect"));
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.unwraps += usize::from(call.method == "unwrap" || call.method == "expect");
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafes += 1;
        syn::visit::visit_expr_unsafe(self, block);
    }

    fn visit_macro(&mut self, macro_: &'ast syn::Macro) {
        let name = macro_.path.segments.last().map(|segment| segment.ident.to_string());
        let is_panic = |name: &str| ["panic", "unreachable", "todo", "unimplemented"].contains(&name);
        self.panics += usize::from(name.as_deref().is_some_and(is_panic));
    }
}
