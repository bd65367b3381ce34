//! Which statement stands in which block.
//!
//! Blocks are kept on a stack of their own, so that any number of open braces does no harm, and so
//! that one missing brace costs one fault: a `service`, `pool` or `defaults` that is not further in
//! than the block around it shows that this block was left open.

use crate::diagnostic::{Code, Diagnostic, Diagnostics, clip};
use crate::source::{FileId, Span};

use super::arguments::second_word;
use super::characters::has_bad_character;
use super::explain::{self, Surroundings};
use super::grammar::Piece;
use super::statement;
use super::tree::{DefaultsDecl, Item, PoolDecl, ServiceDecl, StatementDecl, Tree, Word};
use super::vocabulary::{BlockKind, Home, Keyword, PieceKind};

/// The tree as far as it was read, and the blocks that are open.
pub(super) struct Blocks<'t, 's> {
    tree: Tree,
    open: Vec<Block>,
    /// The last statement, until it is known whether `{` follows.
    waiting: Option<Piece<'t>>,
    /// The statement before was out of place too, so that one fault speaks for both.
    stray: bool,
    /// How many blocks are open beyond those that are kept.
    deeper: usize,
    /// A `;` came first on its line, as comments do elsewhere.
    leading_semicolon: bool,
    sink: &'s mut Diagnostics,
}

/// How many blocks may be open at once. None of flb's stands in another: those of other tools are passed over.
const DEEPEST: usize = 100;

/// A block that is open.
struct Block {
    kind: Option<BlockKind>,
    /// Its name; where it ought to have one and has none, it never gets into the tree.
    name: Option<Word>,
    /// The keyword and the name.
    header: Span,
    /// How many bytes of the line stand before the block's first word.
    column: u32,
    statements: Vec<StatementDecl>,
    damaged: bool,
    /// A fault about its braces was reported already.
    excused: bool,
}

impl<'t, 's> Blocks<'t, 's> {
    pub(super) fn new(file: FileId, sink: &'s mut Diagnostics) -> Self {
        let tree = Tree {
            file,
            items: Vec::new(),
            damaged: false,
        };
        Self {
            tree,
            open: Vec::new(),
            waiting: None,
            stray: false,
            deeper: 0,
            leading_semicolon: false,
            sink,
        }
    }

    /// Takes the next piece of the file.
    pub(super) fn take(&mut self, piece: Piece<'t>) {
        if piece.is_first_on_line() {
            self.leading_semicolon = false;
        }
        if self.is_too_deep(&piece) {
            return;
        }
        match PieceKind::of(piece.rule()) {
            PieceKind::Comment => {}
            PieceKind::Semicolon => {
                self.settle();
                self.leading_semicolon |= piece.is_first_on_line();
            }
            PieceKind::Open => self.open_brace(&piece),
            PieceKind::Close => {
                self.settle();
                self.close_brace(piece.span());
            }
            PieceKind::Malformed if self.leading_semicolon => {
                self.settle();
                self.mark_damaged();
                if !self.in_foreign_block() {
                    self.sink.report(explain::wrong_comment(&piece, ";"));
                }
            }
            PieceKind::Statement(_) | PieceKind::Malformed => {
                self.settle();
                self.waiting = Some(piece);
            }
        }
    }

    /// Whether a piece stands deeper than blocks are kept: there braces are counted, a block in a block has its fault, and nothing
    /// else is read. A statement that shows that blocks before it were left open ends that.
    fn is_too_deep(&mut self, piece: &Piece<'t>) -> bool {
        let is_first = self.deeper == 0;
        if is_first && self.open.len() < DEEPEST {
            return false;
        }
        if !is_first && self.is_sibling_of_open_block(piece) {
            self.deeper = 0;
            self.waiting = None;
            return false;
        }
        match PieceKind::of(piece.rule()) {
            PieceKind::Open => {
                let block = self.waiting.take();
                self.mark_damaged();
                self.deeper += 1;
                // A block that is none of flb's has its fault, and what stands in it has none.
                if self.in_foreign_block() {
                    return true;
                }
                if is_first {
                    let message = format!("More than {DEEPEST} blocks stand in each other");
                    let fault = Diagnostic::new(Code::StrayBrace, piece.span(), message);
                    let help =
                        "write `}` where each block ends: no block of flb's stands in another";
                    self.sink.report(fault.help(help));
                }
                if let Some(block) = block
                    && let Some(kind) = BlockKind::of_keyword(block.keyword_text())
                {
                    self.report_nested(&block, kind);
                }
            }
            PieceKind::Close if !is_first => {
                self.waiting = None;
                self.deeper -= 1;
            }
            PieceKind::Statement(_) | PieceKind::Malformed if !is_first => {
                self.waiting = Some(piece.clone());
            }
            PieceKind::Semicolon if !is_first => self.waiting = None,
            PieceKind::Comment
            | PieceKind::Close
            | PieceKind::Statement(_)
            | PieceKind::Malformed
            | PieceKind::Semicolon => return !is_first,
        }
        true
    }

    /// The tree, once all pieces were taken.
    pub(super) fn finish(mut self) -> Tree {
        self.settle();
        while let Some(block) = self.open.pop() {
            // Of unknown blocks in each other the outermost speaks for all.
            if block.kind.is_some() || self.open.last().is_none_or(|outer| outer.kind.is_some()) {
                self.report_unclosed(&block, None);
            }
            let end = block.last_span();
            self.keep_block(block, end);
        }
        self.tree
    }

    /// The statement before is one without a block.
    fn settle(&mut self) {
        let Some(piece) = self.waiting.take() else {
            return;
        };
        if self.in_foreign_block() && !self.is_sibling_of_open_block(&piece) {
            return;
        }
        let Some(keyword) = Keyword::of_rule(piece.rule()) else {
            self.settle_malformed(&piece);
            return;
        };
        match keyword {
            Keyword::Service | Keyword::Defaults => self.settle_header(&piece),
            Keyword::Pool if self.open.is_empty() => self.settle_header(&piece),
            Keyword::Include => self
                .settle_top_statement(&piece, |piece| statement::include(piece).map(Item::Include)),
            Keyword::Define => self
                .settle_top_statement(&piece, |piece| statement::define(piece).map(Item::Define)),
            Keyword::Pool
            | Keyword::Vip
            | Keyword::Mode
            | Keyword::Scheduler
            | Keyword::Persist
            | Keyword::Track
            | Keyword::Allow
            | Keyword::Deny
            | Keyword::OnEmpty
            | Keyword::Server => self.settle_statement(&piece),
        }
    }

    /// `service NAME` that no `{` follows. What comes next most likely stands in it.
    fn settle_header(&mut self, piece: &Piece<'t>) {
        self.leave_siblings(piece);
        let kind = BlockKind::of_keyword(piece.keyword_text());
        self.sink.report(explain::missing_brace(piece));
        self.enter(piece, kind, statement::name(piece), true);
    }

    fn settle_top_statement(&mut self, piece: &Piece<'t>, read: fn(&Piece<'t>) -> Option<Item>) {
        self.stray = false;
        self.leave_siblings(piece);
        if !self.open.is_empty() {
            let message = format!(
                "`{}` stands at the top level of a file, not in a block",
                piece.keyword_text()
            );
            let mut fault = Diagnostic::new(Code::MisplacedStatement, piece.keyword(), message);
            if let Some(block) = self.open.last() {
                fault = fault.related(block.header, "in this block");
            }
            self.sink.report(fault);
        }
        match read(piece) {
            Some(item) => self.tree.items.push(item),
            None => self.settle_malformed(piece),
        }
    }

    fn settle_statement(&mut self, piece: &Piece<'t>) {
        let doubt = explain::doubtful(piece, self.sink.is_full());
        let Some(block) = self.open.last_mut() else {
            if !self.stray {
                self.sink.report(explain::outside_of_blocks(piece));
            }
            self.stray = true;
            self.tree.damaged = true;
            return;
        };
        match (doubt, statement::statement(piece)) {
            (None, Some(declared)) => block.statements.push(declared),
            (Some(fault), _) => {
                block.damaged = true;
                if !has_bad_character(piece.text()) {
                    self.sink.report(fault);
                }
            }
            (None, None) => {
                block.damaged = true;
                self.report_malformed(piece);
            }
        }
    }

    fn settle_malformed(&mut self, piece: &Piece<'t>) {
        self.mark_damaged();
        self.report_malformed(piece);
        let kind = BlockKind::of_keyword(piece.keyword_text());
        if self.open.is_empty() && kind.is_some() {
            self.enter(piece, kind, None, true);
        }
    }

    /// `{`: opens the block of the statement before it.
    fn open_brace(&mut self, brace: &Piece<'t>) {
        let Some(piece) = self.waiting.take() else {
            if !self.in_foreign_block() {
                let fault =
                    Diagnostic::new(Code::StrayBrace, brace.span(), "This `{` opens no block")
                        .help(
                            "a block starts with `service NAME {`, `pool NAME {` or `defaults {`",
                        );
                self.sink.report(fault);
            }
            self.mark_damaged();
            self.open.push(Block {
                excused: true,
                ..Block::foreign(brace.span(), brace.column())
            });
            return;
        };
        if self.in_foreign_block() && !self.is_sibling_of_open_block(&piece) {
            self.open.push(Block::foreign(piece.span(), piece.column()));
            return;
        }
        let Some(keyword) = Keyword::of_rule(piece.rule()) else {
            self.leave_siblings(&piece);
            self.mark_damaged();
            self.report_malformed(&piece);
            let kind = BlockKind::meant_by(piece.keyword_text());
            let name = second_word(&piece);
            self.enter(&piece, kind, name, false);
            return;
        };
        if let Some(kind) = BlockKind::started_by(keyword) {
            self.leave_siblings(&piece);
            self.report_nested(&piece, kind);
            self.enter(&piece, Some(kind), statement::name(&piece), false);
        } else {
            let message = format!("`{}` takes no block", keyword.text());
            let fault = Diagnostic::new(Code::StrayBrace, brace.span(), message);
            let help = explain::without_block(&piece, keyword);
            self.sink.report(fault.help(help));
            self.mark_damaged();
            self.enter(&piece, None, None, false);
        }
    }

    fn close_brace(&mut self, brace: Span) {
        let Some(block) = self.open.pop() else {
            if !self.stray {
                let fault = Diagnostic::new(Code::StrayBrace, brace, "This `}` closes no block");
                self.sink.report(fault);
            }
            self.stray = true;
            return;
        };
        self.stray = false;
        self.keep_block(block, brace);
    }

    /// Closes the blocks that a statement at this column shows to be left open.
    fn leave_siblings(&mut self, piece: &Piece<'t>) {
        while self.is_sibling_of_open_block(piece) {
            let Some(block) = self.open.pop() else {
                return;
            };
            self.report_unclosed(&block, Some(piece));
            let end = block.last_span();
            self.keep_block(block, end);
        }
    }

    /// Whether a statement can only stand at the top level and is no further in than the block that
    /// is open.
    fn is_sibling_of_open_block(&self, piece: &Piece<'t>) -> bool {
        let Some(block) = self.open.last() else {
            return false;
        };
        let is_top = match PieceKind::of(piece.rule()) {
            PieceKind::Statement(keyword) => keyword.homes().contains(&Home::Top),
            PieceKind::Malformed => BlockKind::of_keyword(piece.keyword_text()).is_some(),
            PieceKind::Open | PieceKind::Close | PieceKind::Semicolon | PieceKind::Comment => false,
        };
        is_top && piece.column() <= block.column
    }

    fn enter(
        &mut self,
        piece: &Piece<'t>,
        kind: Option<BlockKind>,
        name: Option<Word>,
        excused: bool,
    ) {
        self.stray = false;
        let header = piece.span();
        self.open.push(Block {
            kind,
            name,
            excused,
            ..Block::foreign(header, piece.column())
        });
    }

    fn keep_block(&mut self, block: Block, end: Span) {
        let span = block.header.to(end);
        let Block {
            kind,
            name,
            statements,
            damaged,
            ..
        } = block;
        let item = match (kind, name) {
            (Some(BlockKind::Defaults), _) => Item::Defaults(DefaultsDecl {
                span,
                statements,
                damaged,
            }),
            (Some(BlockKind::Pool), Some(name)) => Item::Pool(PoolDecl {
                span,
                name,
                statements,
                damaged,
            }),
            (Some(BlockKind::Service), Some(name)) => Item::Service(ServiceDecl {
                span,
                name,
                statements,
                damaged,
            }),
            (Some(BlockKind::Pool | BlockKind::Service) | None, _) => {
                self.tree.damaged = true;
                return;
            }
        };
        self.tree.items.push(item);
    }

    fn report_unclosed(&mut self, block: &Block, next: Option<&Piece<'t>>) {
        if block.excused {
            return;
        }
        let mut fault = Diagnostic::new(
            Code::UnclosedBlock,
            block.header,
            "This block is never closed",
        )
        .label("opened here");
        fault = match next {
            Some(next) => fault
                .related(next.span(), "the next one starts here")
                .help("write `}` before the next one starts"),
            None => fault.help("write `}` at its end"),
        };
        self.sink.report(fault);
    }

    fn report_nested(&mut self, piece: &Piece<'t>, kind: BlockKind) {
        let Some(outer) = self.open.last() else {
            return;
        };
        let fault = match kind {
            BlockKind::Pool => Diagnostic::new(
                Code::NestedPool,
                piece.span(),
                "A pool is declared at the top level, not in a block",
            )
            .help(format!(
                "move it out of the block, and write `{}` here to use it",
                clip(&explain::on_one_line(piece))
            )),
            BlockKind::Service | BlockKind::Defaults => Diagnostic::new(
                Code::MisplacedStatement,
                piece.span(),
                format!(
                    "`{}` stands at the top level of a file, not in a block",
                    piece.keyword_text()
                ),
            )
            .help("is the `}` of the block around it missing?"),
        };
        self.sink
            .report(fault.related(outer.header, "in this block"));
        if let Some(outer) = self.open.last_mut() {
            // Its servers were meant to be the service's, or the rest of it stands elsewhere.
            outer.damaged = true;
            // The one fault speaks for a missing brace, too.
            outer.excused |= kind != BlockKind::Pool;
        }
    }

    fn report_malformed(&mut self, piece: &Piece<'t>) {
        if !has_bad_character(piece.text()) {
            let fault = explain::malformed(piece, self.place(), self.sink.is_full());
            self.sink.report(fault);
        }
    }

    fn mark_damaged(&mut self) {
        match self.open.last_mut() {
            Some(block) => block.damaged = true,
            None => self.tree.damaged = true,
        }
    }

    fn in_foreign_block(&self) -> bool {
        self.open.last().is_some_and(|block| block.kind.is_none())
    }

    fn place(&self) -> Surroundings {
        match self.open.last() {
            None => Surroundings::Top,
            Some(block) => block.kind.map_or(Surroundings::Foreign, Surroundings::In),
        }
    }
}

impl Block {
    /// A block that flb does not have: what stands in it is skipped.
    fn foreign(header: Span, column: u32) -> Self {
        Self {
            kind: None,
            name: None,
            header,
            column,
            statements: Vec::new(),
            damaged: false,
            excused: false,
        }
    }

    fn last_span(&self) -> Span {
        self.statements
            .last()
            .map_or(self.header, |statement| statement.span)
    }
}
