//! Numbers the files of a tree in the order of their names, as an index has them.

use super::super::builder::{Builder, Child, TooLarge};
use super::super::format::NONE;
use super::accounts::Accounts;
use super::inode::{Attributes, Content, Inode, ROOT};

/// The nodes added so far, and the inodes yet to be added.
pub(super) struct Built {
    inodes: Vec<Inode>,
    /// The number in the index of each inode.
    numbers: Vec<u32>,
    accounts: Accounts,
    builder: Builder,
}

/// An open directory: the children still to add, the last first, and those already added.
struct Open {
    number: u32,
    todo: Vec<(Vec<u8>, u32)>,
    done: Vec<Child>,
}

impl Built {
    /// Starts with `inodes`, of which no number is known yet.
    pub(super) fn new(inodes: Vec<Inode>, accounts: Accounts) -> Self {
        Self {
            numbers: vec![NONE; inodes.len()],
            inodes,
            accounts,
            builder: Builder::new(),
        }
    }

    /// Adds all files; returns the index, and the number of access control lists that were left out.
    pub(super) fn build(mut self) -> Result<(Builder, u64), TooLarge> {
        self.add_all()?;
        Ok((self.builder, self.accounts.left_out()))
    }

    /// Adds the root and all below it.
    fn add_all(&mut self) -> Result<(), TooLarge> {
        let mut stack = vec![self.open(ROOT)?];
        while let Some(mut top) = stack.pop() {
            let Some((name, child)) = top.todo.pop() else {
                self.builder.directory(top.number, top.done)?;
                continue;
            };
            let inner = match self.inodes.get(child as usize).map(|inode| &inode.content) {
                Some(Content::Directory(_)) => Some(self.open(child)?),
                _ => None,
            };
            let node = match &inner {
                Some(inner) => inner.number,
                None => self.inode(child)?,
            };
            self.builder.link(node);
            top.done.push(Child { name, node });
            stack.push(top);
            stack.extend(inner);
        }
        Ok(())
    }

    fn open(&mut self, id: u32) -> Result<Open, TooLarge> {
        let number = self.inode(id)?;
        let mut todo = Vec::new();
        if let Some(Content::Directory(children)) = self.inodes.get_mut(id as usize).map(|inode| &mut inode.content) {
            todo.extend(std::mem::take(children).into_iter().rev());
        }
        let done = Vec::with_capacity(todo.len());
        Ok(Open { number, todo, done })
    }

    /// Returns the number of one inode; adds the inode at the first call.
    fn inode(&mut self, id: u32) -> Result<u32, TooLarge> {
        let (Some(number), Some(inode)) = (self.numbers.get_mut(id as usize), self.inodes.get_mut(id as usize)) else {
            return Err(TooLarge);
        };
        if *number != NONE {
            return Ok(*number);
        }
        let Attributes { xattrs, acl_texts } = &*inode.attributes;
        let xattrs = self.accounts.settle(&mut inode.node, xattrs.clone(), acl_texts);
        *number = match &inode.content {
            Content::Symlink(target) => self.builder.add_symlink(inode.node, target, xattrs)?,
            _ => self.builder.add(inode.node, xattrs)?,
        };
        match &inode.content {
            Content::File(position, digest) => self.builder.content(*number, *position, *digest),
            Content::Sparse(extents) => self.builder.sparse(*number, extents)?,
            _ => {}
        }
        Ok(*number)
    }
}
