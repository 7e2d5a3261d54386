//! Expressions of the configuration, in CEL: compiled once, where the configuration is read.
//!
//! What an expression can see are the variables below; who evaluates it fills them in. A compiled expression has been
//! checked for syntax, for names that do not exist and for how deep its loops nest, so that a slip of the pen is found
//! by `weir config check` and not by the first event.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{EntryExpr, Expr};
use cel::{Context, Env, ExecutionError, IdedExpr, Program, Value};

/// What an expression can see.
pub const VARIABLES: [&str; 3] = ["event", "body", "headers"];
/// Longest expression, bytes.
pub const LENGTH_MAX: usize = 4 * 1024;
/// Loops inside of loops: each runs over as much as the body holds.
const LOOPS_MAX: usize = 2;
/// Names of types, which stand where values do: `type(body.id) == string`.
const TYPES: [&str; 11] =
    ["bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "type", "uint"];
/// Functions, besides operators and the macros `has`, `all`, `exists`, `exists_one`, `map` and `filter`.
const FUNCTIONS: [&str; 13] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// The standard functions: a table that nothing changes.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// A compiled expression. Prints as it was written.
#[derive(Clone)]
pub struct Expression {
    text: Arc<str>,
    program: Arc<Program>,
    uses: BTreeSet<&'static str>,
}

impl Expression {
    /// Compiles an expression. The error says where and why it is none.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("must not be empty".to_owned());
        }
        if text.len() > LENGTH_MAX {
            return Err(format!("has {} bytes: at most {LENGTH_MAX} are allowed", text.len()));
        }
        let program = STANDARD.compile(text).map_err(|errors| match errors.errors.first() {
            Some(error) => at(text, error.pos, &error.msg),
            None => "is not a CEL expression".to_owned(),
        })?;
        let mut names = Names::default();
        names.visit(program.expression(), 0)?;
        Ok(Self { text: text.into(), program: Arc::new(program), uses: names.uses })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the value of this variable matters.
    pub fn uses(&self, variable: &str) -> bool {
        self.uses.contains(variable)
    }

    /// Its value. The error quotes nothing of the event but the names of keys.
    pub fn value(&self, context: &Context<'_, '_>) -> Result<Value, String> {
        self.program.execute(context).map_err(|error| explain(&error))
    }
}

/// What expressions are evaluated in: no variable is set yet.
pub fn context<'v>() -> Context<'static, 'v> {
    Context::with_env(Arc::clone(&STANDARD))
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

fn at(text: &str, (line, column): (isize, isize), message: &str) -> String {
    let message = message.lines().next().unwrap_or_default().trim();
    let place = match (line, text.contains('\n')) {
        (..=0, _) => String::new(),
        (_, false) => format!(" at column {column}"),
        (_, true) => format!(" at line {line}, column {column}"),
    };
    format!("is not a CEL expression{place}: {message}")
}

/// Values do not belong in messages: whoever may read why an event died need not be allowed to read the event.
fn explain(error: &ExecutionError) -> String {
    if let ExecutionError::NoSuchKey(name) = error {
        return format!("there is no `{name}`");
    }
    if let ExecutionError::NoSuchOverload(overload) = error {
        let types = overload.argument_types().join(", ");
        return format!("`{}` does not take {types}", overload.function().trim_matches(['_', '@']));
    }
    if let ExecutionError::FunctionError { function, .. } = error {
        return format!("`{function}` cannot be computed for this value");
    }
    if matches!(error, ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_)) {
        return "it divides by zero".to_owned();
    }
    if matches!(error, ExecutionError::Overflow(..)) {
        return "a number becomes too large".to_owned();
    }
    if matches!(error, ExecutionError::IndexOutOfBounds(_)) {
        return "a list has no such position".to_owned();
    }
    "a value has the wrong type".to_owned()
}

/// The names that an expression uses.
#[derive(Default)]
struct Names {
    uses: BTreeSet<&'static str>,
    /// Variables of the loops around.
    loops: Vec<String>,
}

impl Names {
    fn visit(&mut self, node: &IdedExpr, depth: usize) -> Result<(), String> {
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.visit(&select.operand, depth),
            Expr::List(list) => self.visit_all(&list.elements, depth),
            Expr::Call(call) => {
                let is_named = call.func_name.chars().all(|c| c.is_ascii_alphanumeric());
                if is_named && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    return Err(format!(
                        "there is no function `{}`: known are {}",
                        call.func_name,
                        FUNCTIONS.join(", ")
                    ));
                }
                if let Some(target) = &call.target {
                    self.visit(target, depth)?;
                }
                self.visit_all(&call.args, depth)
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(&entry.expr, depth)),
            Expr::Struct(_) => Err("makes an object of a type: write a map, as in {'id': body.id}".to_owned()),
            Expr::Comprehension(each) => {
                if depth >= LOOPS_MAX {
                    return Err(format!("loops nest deeper than {LOOPS_MAX}"));
                }
                self.visit(&each.iter_range, depth)?;
                self.visit(&each.accu_init, depth)?;
                let outside = self.loops.len();
                self.loops.push(each.iter_var.clone());
                self.loops.extend(each.iter_var2.clone());
                self.loops.push(each.accu_var.clone());
                for part in [&each.loop_cond, &each.loop_step, &each.result] {
                    self.visit(part, depth + 1)?;
                }
                self.loops.truncate(outside);
                Ok(())
            }
        }
    }

    fn visit_all(&mut self, nodes: &[IdedExpr], depth: usize) -> Result<(), String> {
        nodes.iter().try_for_each(|node| self.visit(node, depth))
    }

    fn entry(&mut self, entry: &EntryExpr, depth: usize) -> Result<(), String> {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value, depth),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key, depth)?;
                self.visit(&entry.value, depth)
            }
        }
    }

    fn variable(&mut self, name: &str) -> Result<(), String> {
        if self.loops.iter().any(|known| known == name) || TYPES.contains(&name) {
            return Ok(());
        }
        match VARIABLES.iter().find(|known| **known == name) {
            Some(known) => {
                self.uses.insert(known);
                Ok(())
            }
            None => Err(format!("there is no variable `{name}`: known are {}", VARIABLES.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Expression::compile(text).map(|_| ()).unwrap_err()
    }

    #[test]
    fn a_slip_of_the_pen_is_found_when_it_is_compiled() {
        for (text, expected) in [
            ("", "must not be empty"),
            ("body.id ==", "is not a CEL expression at column "),
            ("body.id\n  = 5", "is not a CEL expression at line 2, column "),
            ("bdy.id == 5", "there is no variable `bdy`: known are event, body, headers"),
            ("body.tags.exists(t, u == 'a')", "there is no variable `u`"),
            ("t == 1 || body.tags.exists(t, t == 'a')", "there is no variable `t`"),
            ("lenght(body.tags) > 1", "there is no function `lenght`: known are "),
            ("body.a.all(x, x.all(y, y.all(z, z > 0)))", "loops nest deeper than 2"),
        ] {
            let message = refused(text);
            assert!(message.starts_with(expected), "{text}: {message}");
        }
        assert!(refused(&"(".repeat(3000)).contains("is not a CEL expression"), "deep nesting is no crash");
        assert_eq!(refused(&" 1".repeat(2049)), "has 4098 bytes: at most 4096 are allowed");
    }

    #[test]
    fn what_can_be_said_is_said() {
        for text in [
            "body.action in ['opened', 'closed'] && !has(body.draft)",
            "event.type.startsWith('invoice.') || headers['x-a'] == 'b'",
            "body.items.filter(i, i.price > 10).map(i, {'id': i.id, 'tags': i.tags.map(t, string(t))})",
            "type(body.id) == string ? size(body.id) : int(body.id) % 7",
            "body.name.matches('^[a-z]+$')",
        ] {
            Expression::compile(text).unwrap_or_else(|message| panic!("{text}: {message}"));
        }
    }

    #[test]
    fn it_knows_what_it_uses() {
        let expression = Expression::compile("event.type == 'a' && headers.size() > 0").unwrap();
        assert!(expression.uses("event") && expression.uses("headers") && !expression.uses("body"));
        assert_eq!(format!("{expression:?}"), "\"event.type == 'a' && headers.size() > 0\"");
    }

    #[test]
    fn a_failure_names_keys_and_no_values() {
        let mut scope = context();
        let body: std::collections::HashMap<String, Value> =
            [("secret".to_owned(), Value::from("hunter2")), ("n".to_owned(), Value::Int(1))].into();
        scope.add_variable_from_value("body", body);
        for (text, expected) in [
            ("body.amount > 5", "there is no `amount`"),
            ("body.secret + 1", "a value has the wrong type"),
            ("size(body.n)", "`size` does not take int"),
            ("body.n / 0", "it divides by zero"),
            ("int(body.secret)", "`int` cannot be computed for this value"),
            ("[1][body.n]", "a list has no such position"),
            ("body.secret.matches('(')", ""),
        ] {
            let message = Expression::compile(text).unwrap().value(&scope).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains("hunter2"), "{text}: {message}");
        }
    }
}
