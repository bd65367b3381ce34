pub(super) fn numbers() {}
