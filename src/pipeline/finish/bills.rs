//! The bill of materials beside the image: the one in it.

use crate::image::artifacts::{Beside, Body};
use crate::image::merged::Merged;
use crate::pipeline::assemble::bill;
use crate::pipeline::context::Context;
use crate::pipeline::error::BuildError;
use crate::sbom::Form;

/// Lists the bills of `merged`, to be delivered as they are.
///
/// # Errors
/// If the tree cannot be read.
pub fn of<'a>(context: &Context<'_>, merged: &Merged) -> Result<Vec<Beside<'a>>, BuildError> {
    let stem = context.request.output_name();
    let mut bills = Vec::new();
    for form in Form::ALL {
        let path = bill::path(&stem, form);
        if merged.has(&path)? {
            bills.push(Beside {
                name: format!("{stem}.{}", form.suffix()),
                body: Body::Source(merged.file(&path)?),
            });
        }
    }
    Ok(bills)
}
