#!/bin/bash
# @TITLE@
# Written by `couplet submit` from slurm/job.sh; submitting again writes it anew. What it may ask Slurm for and when it
# lets itself be queued again stands in the cluster profile (docs/slurm.md).
@SBATCH@
#SBATCH --requeue
#SBATCH --open-mode=append

stage=@STAGE@
flat=@FLAT@                       # the stage in names of files
run=@RUN@
tasks=@TASKS@                     # of the array that shares the stage; empty: one job
cluster_requeues=@CLUSTER_REQUEUES@
max_requeues=@MAX_REQUEUES@
max_retries=@MAX_RETRIES@
modules=(@MODULES@)
scratch=@SCRATCH@
launch=(@LAUNCH@)
program=(@PROGRAM@)

# Who this job is: one task of an array has a name and files of its own, and is queued again alone.
name=$flat
job=$SLURM_JOB_ID
if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
  name=$flat-$SLURM_ARRAY_TASK_ID
  job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi
files=$run/slurm/$name
log=$run/log/slurm-$name-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}.out
note=$files.note                  # the ranks' own words: a line when asked to stop (USR1, TERM, again) or failing

say() { printf '%(%F %T)T job %s (%s): %s\n' -1 "$job" "$stage" "$*"; }

# The file holds the old text or the new one, never half of it.
publish() { printf '%s\n' "$2" > "$1.$$" && mv -f "$1.$$" "$1"; }

count() { local number=0; [[ -r $1 ]] && read -r number < "$1"; echo "${number:-0}"; }

# Why it stopped, in one line, for `couplet status`.
leave_reason() {
  say "$1"
  publish "$files.reason" "$(printf '%(%F %T)T' -1) $stage: $1; log: $log"
}

# A field of what Slurm knows of this job; empty: it does not answer.
ask() { timeout 20 scontrol --oneliner show job "$job" 2> /dev/null | grep -o -m 1 " $1=[^ ]*" | cut -d = -f 2; }

cancelled() { [[ -e $run/slurm/$flat.cancelled || -e $files.cancelled ]]; }

# Queues the job again, unless it is over: cancelled, out of time, or queued again by somebody else. Slurm lets a
# cancelled job be requeued; so this one asks first, every time. On success Slurm ends this script.
queue_again() {
  trap '' USR1 TERM CONT
  local try state
  for try in 1 2 3 4 5 6; do
    state=$(ask JobState)
    if cancelled; then
      leave_reason "cancelled"
      return 1
    elif [[ -n $state && $state != RUNNING ]]; then
      leave_reason "not queued again: Slurm is ending this job ($state): it was cancelled, or its time is over"
      return 1
    elif [[ -n $state ]] && timeout 60 scontrol requeue "$job"; then
      return 0
    fi
    sleep 5
  done
  leave_reason "Slurm did not queue the job again ($1); couplet submit --run-dir $run goes on"
  return 1
}

# The time-limit and preemption path.
go_on_later() {
  local so_far
  so_far=$(count "$files.requeues")
  if (( so_far >= max_requeues )); then
    leave_reason "$1; not queued again: it was $so_far times, and slurm.max-requeues = $max_requeues"
    return
  fi
  publish "$files.requeues" $((so_far + 1))
  leave_reason "$1; queued again ($((so_far + 1)) of $max_requeues)"
  queue_again "$1"
}

try_again() {
  local so_far
  so_far=$(count "$files.retries")
  if (( status == 2 || so_far >= max_retries )); then  # 2: refused, and would be again
    leave_reason "$1 (retries: $so_far of $max_retries)"
    return
  fi
  publish "$files.retries" $((so_far + 1))
  leave_reason "$1; tried again ($((so_far + 1)) of $max_retries)"
  queue_again "$1"
}

# Preempted, and Slurm queues it again when the grace time is over: a script that ended before would be a failed job.
wait_for_requeue() {
  leave_reason "preempted, has saved; the cluster queues it again"
  while [[ $(ask PreemptTime) != None && $(ask JobState) == RUNNING ]]; do sleep 2; done
  leave_reason "asked to stop by SIGTERM; the cluster queues preempted jobs again (slurm.cluster-requeues)"
}

# What the ranks said of the failure, else the last words of the launcher.
failure() {
  local text
  text=$(grep -m 1 '^failed: ' "$note" 2> /dev/null)
  [[ -n $text ]] && { echo "${text#failed: }"; return; }
  text=$(tail -n 60 "$log" 2> /dev/null | grep -E '^(couplet|srun|slurmstepd|mpirun|prterun|ORTE)|error|signal|Killed' | tail -n 1)
  [[ -n $text ]] || text=$(tail -n 20 "$log" 2> /dev/null | grep . | tail -n 1)
  echo "$text"
}

# Signals that reach this shell: with mpirun the time limit, from scancel SIGTERM too.
child= signal= asked= twice=
on_signal() {
  woken=1
  if [[ -z $signal ]]; then
    signal=$1 asked=$SECONDS
    forward &
  elif (( SECONDS - asked > 1 )); then
    twice=1
    kill -USR1 "$child" 2> /dev/null  # the ranks end at once
  fi
}

# Hands the request on as SIGUSR1 (mpirun would kill its ranks two seconds after a SIGTERM) until a rank has noted it:
# one that comes before the ranks are there is lost.
forward() {
  [[ -n $child ]] || return
  local try
  for try in 1 2 3 4 5 6 7 8 9 10; do
    [[ -s $note ]] && return
    kill -USR1 "$child" 2> /dev/null || return
    sleep 2
  done
}

run_launcher() {
  woken=
  trap 'on_signal USR1' USR1
  trap 'on_signal TERM' TERM
  trap 'woken=1' CONT  # Slurm sends it with every signal
  "$@" &
  child=$!
  # A trapped signal ends `wait` early, with the signal's status: wait again for the child's.
  while :; do
    woken=
    wait "$child"
    status=$?
    [[ -n $woken ]] || break
  done
}

# What the launcher's end means.
conclude() {
  local cause
  cause=$(head -n 1 "$note" 2> /dev/null)
  [[ $cause == USR1 || $cause == TERM ]] || cause=$signal
  if (( status == 0 )); then
    rm -f "$files.reason" "$files.requeues" "$files.retries"
    return
  fi
  local preempted=
  [[ $cause == TERM && ( $status == 75 || $signal == TERM || $(ask PreemptTime) =~ ^[0-9] ) ]] && preempted=1
  if cancelled; then
    leave_reason "cancelled"
  elif [[ -n $twice ]] || { [[ -n $cause ]] && grep -q '^again' "$note" 2> /dev/null; }; then
    leave_reason "asked to stop twice; not queued again"
  elif [[ -n $preempted && $cluster_requeues == true ]]; then
    wait_for_requeue
  elif [[ -n $preempted ]]; then
    go_on_later "stopped by SIGTERM"
  elif (( status == 75 )); then
    go_on_later "stopped before the time limit, has saved"
  elif [[ $cause == USR1 ]] && (( status == 138 )); then  # 128 + SIGUSR1: it came before the ranks were ready for it
    go_on_later "stopped before the time limit, while it started"
  else
    try_again "failed with status $status: $(failure)"
  fi
}

if cancelled; then
  say "was cancelled: nothing is done"
  exit 1
fi
rm -f "$note"
say "starts on $SLURM_JOB_NODELIST${SLURM_RESTART_COUNT:+, queued again $SLURM_RESTART_COUNT times}"

if (( ${#modules[@]} )); then
  type module > /dev/null 2>&1 || . /etc/profile
  module load "${modules[@]}"
fi
@ENVIRONMENT@
if (( EUID == 0 )); then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

words=(stage "$stage" --run-dir "$run" --end-note "$note")
[[ -z $scratch ]] || words+=(--storage.cache-dir "$scratch/couplet-cache")
[[ -z $tasks ]] || words+=(--couple.part "$SLURM_ARRAY_TASK_ID/$tasks")
run_launcher "${launch[@]}" "${program[@]}" "${words[@]}"
conclude
exit "$status"
