;;; eglot.el --- Lacuna with Emacs's own eglot: suggestions in the completion menu -*- lexical-binding: t; -*-

;;; Commentary:

;; Eglot knows no inline completion, and one server a buffer.  For languages whose own server you do not need, put this
;; into your init file; suggestions are then among those of `completion-at-point'.

;;; Code:

(require 'eglot)

(add-to-list 'eglot-server-programs '((text-mode conf-mode sh-mode) . ("lacuna" "--stdio")))
(add-hook 'sh-mode-hook #'eglot-ensure)

;;; eglot.el ends here
