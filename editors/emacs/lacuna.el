;;; lacuna.el --- Code completion as ghost text, by a model on your own machine -*- lexical-binding: t; -*-

;; Package-Requires: ((emacs "28.1") (lsp-mode "10.0.0"))

;;; Commentary:

;; Needs the program `lacuna' on the path and an lsp-mode with `lsp-inline-completion-mode' (10.0.0).
;;
;;     (use-package lacuna :load-path "~/src/lacuna/editors/emacs" :hook (prog-mode . lacuna-mode))
;;
;; Suggestions come by themselves, and by `lsp-inline-completion-display' at any time.  In one that is shown, C-<return>
;; takes it, C-n and C-p go through several, C-g sends it away, and any other key goes on without it.  It runs beside the
;; language's own server.

;;; Code:

(require 'lsp-mode)
(require 'lsp-inline-completion nil t)

(defgroup lacuna nil
  "Code completion by a model on your own machine."
  :group 'lsp-mode)

(defcustom lacuna-command '("lacuna" "--stdio")
  "The language server."
  :type '(repeat string))

(defcustom lacuna-settings nil
  "The server's own settings, such as (:deadline 800 :journal \"on\")."
  :type 'plist)

(defcustom lacuna-idle-delay 0.1
  "Seconds without a key before Lacuna is asked.  The server waits for the next key itself, so this may be short."
  :type 'number)

(lsp-register-client
 (make-lsp-client
  :new-connection (lsp-stdio-connection (lambda () lacuna-command))
  :activation-fn (lambda (&rest _) (bound-and-true-p lacuna-mode))
  :initialization-options (lambda () (or lacuna-settings (make-hash-table)))
  :server-id 'lacuna
  :priority -2
  :add-on? t))

;;;###autoload
(define-minor-mode lacuna-mode
  "Suggestions of Lacuna as ghost text in this buffer."
  :lighter " lacuna"
  (unless (fboundp 'lsp-inline-completion-mode)
    (user-error "This lsp-mode has no inline completion; upgrade lsp-mode"))
  (if lacuna-mode
      (progn
        (setq-local lsp-inline-completion-idle-delay lacuna-idle-delay)
        (add-hook 'lsp-after-open-hook #'lacuna--begin nil t)
        (add-hook 'lsp-inline-completion-accepted-hook #'lacuna--go-behind nil t)
        (lsp-deferred))
    (remove-hook 'lsp-after-open-hook #'lacuna--begin t)
    (remove-hook 'lsp-inline-completion-accepted-hook #'lacuna--go-behind t)
    (lsp-inline-completion-mode -1)))

(defun lacuna--begin ()
  "Show suggestions from now on."
  (lsp-inline-completion-mode 1))

(defun lacuna--go-behind (_text _start end)
  "Leave the cursor at END of what was taken, to write on there."
  (goto-char end))

(provide 'lacuna)
;;; lacuna.el ends here
