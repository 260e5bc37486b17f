"""Which labels are wrong: from a run's ledger to a table, a page, and corrected labels."""

from l2b.audit.active import next_to_check
from l2b.audit.apply import Corrected, accept_suggestions, apply_decisions
from l2b.audit.bridge import for_cleanlab, issues_for_cleanlab
from l2b.audit.own import audit_own
from l2b.audit.run import Audit, audit_run
from l2b.audit.table import AuditTable, audit_table

__all__ = [
    "Audit",
    "AuditTable",
    "Corrected",
    "accept_suggestions",
    "apply_decisions",
    "audit_own",
    "audit_run",
    "audit_table",
    "for_cleanlab",
    "issues_for_cleanlab",
    "next_to_check",
]
