#!/usr/bin/env bash
# A SLURM cluster of one node on this machine, for tests: controller, node daemon, two partitions
# and pretended GPUs, without systemd, cgroups or an accounting database.
#
#   start_slurm.sh check    say what is missing; status 0 when nothing is
#   start_slurm.sh start    start the daemons
#   start_slurm.sh stop     stop them, and take the configuration away again
#
# It needs root, since the node daemon starts jobs for users; Debian's or Ubuntu's packages
# slurmctld slurmd slurm-client munge (22.05 or newer); a munge key, which the package makes; and
# /etc/slurm/slurm.conf absent or made by this script: a machine that belongs to a real cluster is
# left alone. The files must lie in /etc/slurm, because jobs lose the variable SLURM_CONF.
#
# SLURM_TEST_DIR (default /tmp/fewpick-slurm) keeps state, logs and records, GPUS (2) says how many
# devices to pretend, CPUS (8) and MEMORY (65536, MB) what to advertise: it need not exist.
set -euo pipefail

RUN=${SLURM_TEST_DIR:-/tmp/fewpick-slurm}
GPUS=${GPUS:-2}
CPUS=${CPUS:-8}
MEMORY=${MEMORY:-65536}
NODE=$(hostname -s)
OURS="# made by fewpick's tests/cluster/start_slurm.sh"

ours() { grep -qsF "$OURS" /etc/slurm/slurm.conf; }

check() {
  local missing=()
  [ "$(id -u)" = 0 ] || missing+=("root")
  for program in slurmctld slurmd sbatch munged; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || missing+=("$program")
  done
  [ -e /etc/slurm/slurm.conf ] && ! ours && missing+=("no /etc/slurm/slurm.conf of another cluster")
  [ ${#missing[@]} = 0 ] || { printf 'needs %s\n' "${missing[@]}"; return 1; }
}

configure() {
  mkdir -p "$RUN"/{state,spool,log,pid,gpu} /etc/slurm
  # Device files make SLURM set CUDA_VISIBLE_DEVICES; a mere count does not.
  for ((i = 0; i < GPUS; i++)); do
    [ -e "$RUN/gpu/$i" ] || mknod "$RUN/gpu/$i" c 1 3
  done
  cat >/etc/slurm/gres.conf <<END
NodeName=$NODE Name=gpu Type=pretended File=$RUN/gpu/[0-$((GPUS - 1))]
END
  cat >/etc/slurm/slurm.conf <<END
$OURS
ClusterName=test
SlurmctldHost=$NODE(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
ReturnToService=2
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none

# No cgroups: processes are found through /proc, and those over their memory are killed by the
# accounting plugin, which looks once a second.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
OverTimeLimit=0
KillWait=10

SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=5

# No accounting database: finished jobs stay visible to squeue and scontrol for an hour.
AccountingStorageType=accounting_storage/none
MinJobAge=3600
JobCompType=jobcomp/filetxt
JobCompLoc=$RUN/log/finished.txt

StateSaveLocation=$RUN/state
SlurmdSpoolDir=$RUN/spool
SlurmctldPidFile=$RUN/pid/slurmctld
SlurmdPidFile=$RUN/pid/slurmd
SlurmctldLogFile=$RUN/log/slurmctld.log
SlurmdLogFile=$RUN/log/slurmd.log

NodeName=$NODE NodeAddr=127.0.0.1 CPUs=$CPUS RealMemory=$MEMORY Gres=gpu:pretended:$GPUS
PartitionName=cpu Nodes=$NODE Default=YES MaxTime=1-0 State=UP
PartitionName=gpu Nodes=$NODE MaxTime=2-0 State=UP
END
}

start() {
  check
  configure
  export PATH=$PATH:/usr/sbin
  if [ ! -S /run/munge/munge.socket.2 ]; then
    install -d -o munge -g munge -m 755 /run/munge
    runuser -u munge -- /usr/sbin/munged --pid-file=/run/munge/munged.pid
    cp /run/munge/munged.pid "$RUN/pid/munged" # so that a munged of someone else is not stopped
  fi
  slurmctld -c # forget an earlier run
  slurmd -N "$NODE"
  for ((i = 0; i < 100; i++)); do
    if sinfo --noheader --format %T 2>/dev/null | grep -q idle; then
      sinfo --Node --Format=NodeList,Partition,StateLong,CPUs,Memory,Gres
      return
    fi
    sleep 0.2
  done
  echo "SLURM does not come up; see $RUN/log" >&2
  return 1
}

stop() {
  export PATH=$PATH:/usr/sbin
  if ours && [ -s "$RUN/pid/slurmctld" ]; then
    timeout 10 scancel --state=PENDING --user=root || true
    timeout 10 scancel --signal=KILL --full --state=RUNNING --user=root || true
  fi
  for daemon in slurmd slurmctld munged; do
    local file=$RUN/pid/$daemon pid
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || true
    for ((i = 0; i < 100; i++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    rm -f "$file"
  done
  if ours; then
    rm -f /etc/slurm/slurm.conf /etc/slurm/gres.conf
  fi
}

case "${1:-}" in
check | start | stop) "$1" ;;
*)
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
  exit 2
  ;;
esac
